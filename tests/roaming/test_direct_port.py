"""The far relay's TCP port: attaches of the near relay, and what strangers can do there."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.roaming.ends import written
from tests.roaming.local import Local, exactly, quiet
from trayagent.roaming.far_relay_and_resend_buffer import (
    ACK,
    BYE,
    DATA,
    END,
    FINAL,
    HEADER,
    TAG_SIZE,
    TAGGED,
    Seal,
    Stream,
    frame,
)
from trayagent.roaming.near_client import FAR_RELAY, NearClient, near_command, new_token
from trayagent.roaming.near_session import NearPortLink
from trayagent.sandbox.roaming_relays import wait_for

RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close(2) sends a reset


def free_ports(address: str = "127.0.0.1") -> tuple[socket.socket, int]:
    """Return a socket on a port, so that the port is taken, and the next port, which is free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        taken = socket.socket(family)
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1] + 1
        with socket.socket(family) as other, contextlib.suppress(OSError, OverflowError):
            other.bind((address, port))
            return taken, port
        taken.close()


class Port:
    """A connection that was attached by a channel, whose far relay also listens on a TCP port."""

    def __init__(self, local: Local, address: str = "127.0.0.1") -> None:
        self.local, self.address = local, address
        self.token = new_token()
        taken, free = free_ports(address)
        with taken:
            words = ("serve", address, str(local.echo.port), "3600", "lab", f"{free - 1}-{free}")
            said = local.far(*words, text=f"{self.token}\n")
        assert said["port"] == free, said
        self.port: int = said["port"]
        local.forget_later(self.token)
        self.inner = local.start(self.token)

    def dial(self) -> socket.socket:
        """Connect to the port."""
        sock = socket.create_connection((self.address, self.port), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def attach(self) -> dict[str, Any]:
        """Attach over the port, and return the near relay's answer."""
        with self.dial() as sock:
            return self.local.client.ask("attach-port", [sock.fileno()], id=self.token[:16])

    def echoes(self, size: int = 1) -> bool:
        """Report whether random data comes back through both relays."""
        data = os.urandom(size)
        self.inner.sendall(data)
        return exactly(self.inner, size) == data

    def state(self) -> dict[str, Any]:
        """Return the connection's entry in `status`."""
        return self.local.state(self.token) or {}

    def relay(self) -> dict[str, Any]:
        """Return the far relay's entry in `list`."""
        return next(one for one in self.local.relays() if one["id"] == self.token[:16])


@pytest.fixture
def port(local: Local) -> Iterator[Port]:
    """Connect through both relays by a channel. The far relay also listens on a TCP port of the loopback interface."""
    made = Port(local)
    assert local.attach(made.token)["ok"]
    assert made.echoes()
    yield made
    made.inner.close()


def test_moves_by_port_and_by_channel_lose_nothing(port: Port, local: Local) -> None:
    """A connection moves between channels and ports, and an idle one on a port wakes up neither relay."""
    for _ in range(3):
        answer = port.attach()
        assert (answer["ok"], answer["by"]) == (True, "port")
        local.hang_up()
        assert port.echoes(300_000)
        assert port.state()["by"] == "port"
    assert local.attach(port.token)["by"] == "channel"
    assert port.echoes()
    assert port.attach()["ok"]
    assert port.echoes()
    pid = port.relay()["pid"]
    wait_for(lambda: quiet(pid, 1) == 0, "the last acknowledgement is out")
    assert quiet(local.near.pid, 1) == 0
    assert local.echo.connections == 1
    port.inner.close()
    wait_for(lambda: not local.relays(), "the far relay ended with the connection")


def test_the_first_attach_and_one_without_a_descriptor_are_refused(local: Local) -> None:
    """The near relay attaches by port only after an attach by channel. The far relay's port also exists for IPv6."""
    made = Port(local, "::1")
    assert made.attach()["error"] == "not-attached"
    assert local.client.ask("attach-port", id=made.token[:16])["error"] == "no-descriptor"
    assert local.client.ask("attach-port", id="0" * 16)["error"] == "unknown"
    assert local.state(made.token)
    made.inner.close()


def test_a_taken_port_leaves_the_channel(local: Local) -> None:
    """If no port of the range is free, the relay serves without one. A range that is no range is refused."""
    taken, free = free_ports()
    words = ("serve", "127.0.0.1", str(local.echo.port), "3600", "lab")
    token = new_token()
    with taken:
        said = local.far(*words, str(free - 1), text=f"{token}\n")
    assert said["port"] is None
    local.forget_later(token)
    with local.start(token) as inner:
        assert local.attach(token)["ok"]
        inner.sendall(b"x")
        assert exactly(inner, 1) == b"x"
    for ports in ("80", "2000-1999", "1024-65535", "0", "65536"):
        assert local.far(*words, ports, text=new_token() + "\n")["error"] == "usage"
    assert local.far(*words, "many", text=new_token() + "\n")["error"] == "system"


def test_another_near_relay_with_the_token_displaces_nothing(port: Port, local: Local) -> None:
    """A second near relay with the same token is refused, because its attaches are older. It cannot use the port."""
    assert port.attach()["ok"]
    path = f"{local.path}.second"
    second = subprocess.Popen(near_command(path))
    try:
        wait_for(lambda: Path(path).exists(), "the second near relay listens")
        with NearClient(path) as client, client.start(port.token, 60), port.dial() as sock:
            answer = client.ask("attach-port", [sock.fileno()], id=port.token[:16])
            assert answer["error"] == "not-attached"
            with local.channel(port.token) as ours:
                assert client.ask("attach", [ours.fileno()], id=port.token[:16])["error"] == "older-attach"
        assert port.state()["by"] == "port"
        assert port.echoes(100_000)
    finally:
        second.kill()
        second.wait()


def test_two_hundred_silent_strangers_change_nothing(port: Port) -> None:
    """With 200 silent connections, an echo takes as long as without, and an attach by port still works."""
    assert port.attach()["ok"]
    before = echo_s(port)
    strangers = [port.dial() for _ in range(200)]
    try:
        during = echo_s(port)
        assert during < 3 * before + 0.002, (before, during)
        assert port.attach()["ok"]
        assert port.echoes()
        wait_for(lambda: sum(map(is_open, strangers)) <= 16, "only 16 strangers are kept")
    finally:
        for one in strangers:
            one.close()


def echo_s(port: Port) -> float:
    """Return the seconds that an echo takes, the fastest tenth of 100, because other work delays the rest."""
    times = []
    for _ in range(100):
        began = time.monotonic()
        assert port.echoes()
        times.append(time.monotonic() - began)
    return statistics.quantiles(times, n=10)[0]


def is_open(sock: socket.socket) -> bool:
    """Report whether the peer has neither closed nor reset a connection. The peer must not send data."""
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_stranger_gets_no_answer(port: Port) -> None:
    """The port answers no stranger: neither to random bytes, nor to plain frames, nor to an attach with a wrong key."""
    stream = Stream()
    stream.counter = 100
    name = port.token[:16]
    wrong = NearPortLink(stream, name, Seal(f"{name}.{'0' * 32}".encode()), {})
    plain = [frame(kind, 0, b"", FINAL) for kind in (DATA, ACK, END, BYE)]
    for data in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000), written(wrong), *plain):
        with port.dial() as stranger, contextlib.suppress(ConnectionError):
            stranger.sendall(data)
            assert stranger.recv(100) == b""
    assert port.state()["state"] == "attached"
    assert port.echoes()


class Middle:
    """A router on the way to the port. It records what the laptop sends, and can add bytes to either direction."""

    def __init__(self, port: Port) -> None:
        self.sent = b""
        self._port = port
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._dialled = socket.create_connection(listener.getsockname())
            self.laptop, _ = listener.accept()
        self.server = port.dial()
        ways = ((self.laptop, self.server), (self.server, self.laptop))
        self._threads = [threading.Thread(target=self._pass, args=way) for way in ways]
        for thread in self._threads:
            thread.start()

    def attach(self) -> dict[str, Any]:
        """Attach through this router, and return the near relay's answer."""
        with self._dialled as sock:
            return self._port.local.client.ask("attach-port", [sock.fileno()], id=self._port.token[:16])

    def close(self) -> None:
        """Close both connections."""
        for end in (self.laptop, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for end in (self.laptop, self.server):
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source is self.laptop:
                    self.sent += data
                target.sendall(data)


@pytest.mark.parametrize("kind", [DATA, ACK, END, BYE])
@pytest.mark.parametrize("towards", ["laptop", "server"])
def test_a_router_that_forges_frames_ends_at_most_the_link(port: Port, kind: int, towards: str) -> None:
    """A frame of each type that a router adds in either direction drops its TCP connection. The next one goes on."""
    with Middle(port) as middle:
        assert middle.attach()["ok"]
        assert port.echoes(10_000)
        payload = b"forged" if kind == DATA else b"ended" if kind == BYE else b""
        flags = TAGGED | (FINAL if kind == BYE else 0)
        target = middle.laptop if towards == "laptop" else middle.server
        target.sendall(HEADER.pack(len(payload), kind, flags, 0, 10_001) + bytes(TAG_SIZE) + payload)
        wait_for(lambda: not is_open(target), "the link is dropped")
    wait_for(lambda: port.state()["state"] == "away", "the near relay noticed")
    assert port.attach()["ok"]
    assert port.echoes(10_000)
    assert port.local.echo.connections == 1


def test_what_a_router_recorded_is_of_no_use_later(port: Port) -> None:
    """A replay of all that was sent on a link displaces nothing, and a reset only ends the link."""
    with Middle(port) as middle:
        assert middle.attach()["ok"]
        assert port.echoes(10_000)
        with port.dial() as again, contextlib.suppress(ConnectionError):
            again.sendall(middle.sent)
            assert again.recv(100) == b""
        assert port.state()["state"] == "attached"
        assert port.echoes()
        for end in (middle.server, middle.laptop):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    port.inner.sendall(b"x")
    assert port.attach()["ok"]
    assert exactly(port.inner, 1) == b"x"


def test_a_clock_that_is_set_back_changes_no_attach() -> None:
    """Counters order attaches, and timers are monotonic. The relays read the time of day only for what `list` shows."""
    read = [
        f"{path.name}: {line.strip()}"
        for path in sorted(FAR_RELAY.parent.glob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\b(time\.time|time_ns|datetime|localtime|gmtime|CLOCK_REALTIME)\b", line)
    ]
    assert len(read) == 1, read
    assert '"since": int(time.time())' in read[0]
