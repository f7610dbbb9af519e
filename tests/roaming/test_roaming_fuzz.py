"""Fuzzing of the running relays: one host gets random input on all channels, and another host loses no data.

`TRAYAGENT_ROAM_FUZZ_S=600` fuzzes for ten minutes. `TRAYAGENT_ROAM_SEED` selects other random input.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.roaming.ends import MARKER
from tests.roaming.local import Local, exactly
from tests.roaming.test_direct_port import RESET, Port
from trayagent.roaming.far_relay_and_resend_buffer import (
    ATTACH,
    HEADER,
    HELLO,
    MAGIC,
    TAG_SIZE,
    TAGGED,
    WELCOME,
    frame,
)
from trayagent.roaming.near_client import NearClient, new_token

SECONDS = float(os.environ.get("TRAYAGENT_ROAM_FUZZ_S", "3"))
SEED = int(os.environ.get("TRAYAGENT_ROAM_SEED", "1"))
RSS_MAX_MB = 100.0
STEP_S = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


class Healthy:
    """A healthy connection that sends random data to an echo service and compares the answer."""

    def __init__(self, local: Local) -> None:
        self.token, self.inner = local.connect()
        self.rounds = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        random = Random(SEED)  # noqa: S311  # the same pieces in each run
        try:
            while not self._stop.is_set():
                data = random.randbytes(random.choice((1, 100, 5000, 60_000)))
                self.inner.sendall(data)
                assert exactly(self.inner, len(data)) == data
                self.rounds += 1
        except (OSError, AssertionError) as error:
            self.error = error

    def check_end(self) -> None:
        """Stop, and fail if any byte was wrong or missing."""
        self._stop.set()
        self._thread.join(120)
        self.inner.close()
        assert self.error is None
        assert self.rounds > 10


class Fuzzer:
    """A source of random attacks, drawn from a seed."""

    def __init__(self, local: Local, random: Random) -> None:
        self.local, self.random = local, random
        self.token = ""
        self.inner: socket.socket | None = None
        self.renew()

    def renew(self) -> None:
        """Begin another connection as the target."""
        if self.inner:
            self.inner.close()
        self.end_all(self.token)
        if self.token:
            self.local.far("end", text=self.token + "\n")
        self.token = self.local.serve_in_sight()
        self.inner = self.local.start(self.token)
        self.inner.setblocking(False)

    def end_all(self, token: str) -> None:
        """Make the near relay end the connection."""
        with NearClient(self.local.path) as client:
            client.ask("end", id=token[:16])

    def frames(self) -> bytes:
        """Return some frames: valid, odd, and incomplete ones."""
        random, data = self.random, b""
        for _ in range(random.randint(1, 12)):
            offset = random.choice((0, 1, 2, 100, 65536, 2**32, 2**63, 2**64 - 1, random.randint(0, 5000)))
            length = random.choice((0, 1, 10, 64, 1000, 65536))
            payload = random.randbytes(min(length, 2000))
            kind = random.choice((1, 2, 3, 3, 3, 4, 4, 5, 6, 0, 77))
            if random.random() < 0.2:
                data += HEADER.pack(length, kind, random.randint(0, 255), random.randint(0, 3), offset)
            data += frame(kind, offset, payload, random.choice((0, 0, 1, 2)))
        if random.random() < 0.3 and data:
            at = random.randrange(len(data))
            data = data[:at] + random.randbytes(3) + data[at + random.randint(0, 5) :]
        return data[: random.randint(0, len(data))] if random.random() < 0.3 else data

    def false_far_relay(self) -> None:
        """Answer the near relay's attach with random data."""
        ours, theirs = socket.socketpair()
        with ours, NearClient(self.local.path) as client:
            tag = client.send("attach", [theirs.fileno()], id=self.token[:16])
            theirs.close()
            ours.settimeout(1)
            with contextlib.suppress(OSError):
                counter = self._counter_of(ours.recv(1 << 16))
                random = self.random
                welcome = frame(2, random.choice((0, 0, 0, 7)), WELCOME.pack(1, 0, 0, counter))
                start = random.choice(
                    (
                        MARKER,
                        MARKER,
                        MARKER + welcome,
                        MARKER + welcome,
                        b"",
                        b"\n" * 100,
                        b"TRAYAGENT-ROAM {",
                    )
                )
                ours.sendall(start + self.frames())
                ours.sendall(self.frames())
                if random.random() < 0.3:
                    ours.sendall(random.randbytes(100_000))
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            client.answer(tag)

    @staticmethod
    def _counter_of(attach: bytes) -> int:
        if len(attach) < HEADER.size + HELLO.size:
            return 0
        return int(HELLO.unpack_from(attach, HEADER.size)[4])

    def false_near_relay(self) -> None:
        """Attach to the far relay, through `attach` or directly at its socket, and send random data."""
        random = self.random
        token = self.token if random.random() < 0.8 else self.token[:17] + "0" * 32
        hello = HELLO.pack(MAGIC, 1, 1, 0, random.randint(1, 1000), token[:16].encode(), token[17:].encode())
        directly = random.random() < 0.5
        with self._at_the_far_socket() if directly else self.local.channel(self.token) as ours:
            ours.settimeout(5)
            with contextlib.suppress(OSError):
                if directly:
                    ours.sendall(b'{"do": "link"}\n')
                if random.random() < 0.8:
                    ours.sendall(frame(ATTACH, random.choice((0, 0, 0, 5)), hello))
                ours.sendall(self.frames())
                ours.recv(1 << 16)
                ours.sendall(self.frames())
        if not directly:
            self.local.children[-1].wait(60)
            self.local.children.pop()

    def _at_the_far_socket(self) -> socket.socket:
        """Return a connection to the far relay's socket, or a dead one if the relay ended."""
        raw = socket.socket(socket.AF_UNIX)
        with (
            contextlib.suppress(OSError),
            contextlib.chdir(next(iter(self.local.home.glob(".cache/trayagent/*")))),
        ):
            raw.connect(f"{self.token[:16]}.roam")
        return raw

    def nonsense_at_the_control_socket(self) -> None:
        """Send random requests to the near relay, with useless descriptors."""
        random = self.random
        words: dict[str, Any] = {
            "id": random.choice((self.token[:16], "0" * 16, None, 7, [])),
            "secret": random.choice(("0" * 32, "", None)),
            "roam_for": random.choice((1, -1, 1e300, "1", None)),
            "channel": random.choice((1, 2, 3, None, True)),
            "host": random.choice(("x", None, "\ud800", "x" * 3000)),
        }
        do = random.choice(("start", "attach", "status", "watch", "nothing"))
        with contextlib.suppress(OSError, ValueError), NearClient(self.local.path) as client:
            client.ask(do, [1] * random.randint(0, 3), **words)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as raw:
            raw.connect(self.local.path)
            raw.sendall(random.randbytes(random.choice((1, 100, 10_000))) + b"\n")

    def nonsense_at_the_far_socket(self) -> None:
        """Send random lines to the far relay's own socket."""
        random = self.random
        line = random.choice(
            (b'{"do": "attach"}', b'{"do": "end"}', b'{"do": 7}', b"{", random.randbytes(5000))
        )
        with contextlib.suppress(OSError), self._at_the_far_socket() as raw:
            raw.sendall(line + random.choice((b"\n", b"")))

    def step(self) -> None:
        """Run one random attack."""
        attack: Callable[[], None] = self.random.choice(
            (
                self.false_far_relay,
                self.false_far_relay,
                self.false_near_relay,
                self.nonsense_at_the_control_socket,
                self.nonsense_at_the_far_socket,
            )
        )
        attack()
        if self.inner and self.random.random() < 0.3:
            with contextlib.suppress(OSError):
                self.inner.sendall(bytes(1000))
        if self.random.random() < 0.1:
            self.renew()


class Stranger:
    """A source of random attacks on the port of a connection that is attached there."""

    def __init__(self, port: Port, random: Random) -> None:
        self.port, self.random = port, random
        self.held: list[socket.socket] = []

    def frames(self) -> bytes:
        """Return frames of all types, with the right ID and flags, but without the key of the tags."""
        random, data = self.random, b""
        for _ in range(random.randint(1, 5)):
            kind = random.choice((ATTACH, 2, 3, 4, 5, 6, 0, 77))
            name = self.port.token[:16].encode()
            hello = HELLO.pack(MAGIC, 1, 1, 0, random.choice((1, 2**40, 2**64 - 1)), name, b"0" * 32)
            payload = hello if kind == ATTACH else random.randbytes(random.choice((0, 1, 12, 16_384, 65_536)))
            length = len(payload) if random.random() < 0.9 else random.choice((0, 2**16, 2**32 - 1))
            flags = random.choice((TAGGED, TAGGED, TAGGED | 1, 0, 255))
            data += HEADER.pack(length, kind, flags, 0, random.choice((0, 1, 2**63))) + random.randbytes(
                TAG_SIZE
            )
            data += payload
        return data[: random.randint(0, len(data))] if random.random() < 0.3 else data

    def step(self) -> None:
        """Connect and send something, or nothing. Then leave, reset the connection, or keep it."""
        random = self.random
        try:
            sock = self.port.dial()
        except OSError:
            return
        with contextlib.suppress(OSError):
            if random.random() < 0.8:
                sock.sendall(self.frames())
        match random.randint(0, 2):
            case 0:
                self.held.append(sock)
                for dropped in self.held[:-40]:
                    dropped.close()
                self.held = self.held[-40:]
            case 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
            case _:
                sock.close()


def rss_mb(pid: int) -> float:
    """Return the RSS of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def test_strangers_at_a_port_harm_no_session(local: Local) -> None:
    """While strangers send frames of all types to the port, the session there loses nothing, and can move."""
    port = Port(local)
    assert local.attach(port.token)["ok"]
    assert port.attach()["ok"]
    pid, stranger = port.relay()["pid"], Stranger(port, Random(SEED))  # noqa: S311
    end, attacks = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        stranger.step()
        attacks += 1
        assert port.echoes(stranger.random.choice((1, 1000, 100_000)))
        if attacks % 50 == 0:
            assert port.attach()["by"] == "port"
            assert rss_mb(pid) < RSS_MAX_MB
    assert attacks > 10
    assert port.state()["by"] == "port"
    for one in stranger.held:
        one.close()
    port.inner.close()


def test_a_fuzzed_host_does_not_harm_the_one_beside_it(local: Local) -> None:
    """Both relays survive with bounded memory, and the healthy connection gets every byte, also across moves."""
    healthy = Healthy(local)
    fuzzer = Fuzzer(local, Random(SEED))  # noqa: S311  # the same nonsense in each run
    descriptors = Path(f"/proc/{local.near.pid}/fd")
    before, attacks = len(list(descriptors.iterdir())), 0
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            fuzzer.step()
            attacks += 1
            if attacks % 20 == 0:
                assert local.attach(healthy.token)["ok"]
                assert local.near.poll() is None
                assert rss_mb(local.near.pid) < RSS_MAX_MB
    finally:
        healthy.check_end()
        fuzzer.end_all(fuzzer.token)
        if fuzzer.inner:
            fuzzer.inner.close()
    assert attacks > 10
    assert len(list(descriptors.iterdir())) <= before
    token = new_token()
    with NearClient(local.path) as client, client.start(token, 60):
        assert client.ask("status")["ok"]
