"""Both relays as processes on this machine, without ssh: a service replaces sshd, and a socket pair a channel."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from trayagent.roaming.near_client import FAR_RELAY, NearClient, near_command, new_token
from trayagent.sandbox.roaming_relays import marked, wait_for

IN_SIGHT = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from trayagent.roaming import far_relay_and_resend_buffer as far_relay
token, port = sys.argv[2], int(sys.argv[3])
folder, name = far_relay.make_folder(), token[:16] + ".roam"
far_relay.os.chdir(folder)  # its path is too long for a socket's address
listener = socket.socket(socket.AF_UNIX)
listener.bind(name)
listener.listen(4)
path = folder + "/" + name
labels = {"id": token[:16], "roam_for": 3600}
far_relay.FarRelay(listener, path, token.encode(), ("127.0.0.1", port), labels).run()
"""
"""A far relay that is not detached, so that the test gets its error output."""

ALONE = [sys.executable, "-I", "-S", "-E", str(FAR_RELAY)]


class Echo:
    """A TCP service that echoes all data, and then the end. `connections` counts its connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Stop accepting."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Local:
    """A near relay, and far relays on request. A context manager that ends them."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        # A socket's path may have at most 107 bytes, so pytest's long folders cannot be used.
        self._short = tempfile.TemporaryDirectory(prefix="roam-", dir="/tmp")
        self.path = f"{self._short.name}/near.sock"
        self._words = (folder / "near-says").open("w+")
        self.near = self.start_near()
        wait_for(lambda: Path(self.path).exists(), "the near relay listens")
        self.client = NearClient(self.path)
        self.echo = Echo()
        self.small_buffers = False
        """Whether a channel takes only about 2 KiB at a time, so that nearly every write is incomplete."""
        self._tokens: list[str] = []
        self._relays: list[subprocess.Popen[bytes]] = []
        self.children: list[subprocess.Popen[bytes]] = []

    def start_near(self) -> subprocess.Popen[bytes]:
        """Start a near relay at our socket. Any output of it fails the test."""
        return subprocess.Popen(near_command(self.path), stderr=self._words.fileno())

    def far(self, *words: str, text: str = "", env: dict[str, str] | None = None) -> dict[str, Any]:
        """Run a command of the far relay, and return its answer."""
        done = subprocess.run(
            [*ALONE, *words],
            check=False,
            input=text,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not done.stderr, done.stderr
        return marked(done.stdout)

    def serve(
        self, *, roam_for_s: float = 3600, port: int | None = None, env: dict[str, str] | None = None
    ) -> str:
        """Start a far relay, and return its token."""
        token = new_token()
        words = ("serve", "127.0.0.1", str(port or self.echo.port), f"{roam_for_s:g}", "lab")
        said = self.far(*words, text=f"{token}\n", env=env)
        assert said.get("id") == token[:16], said
        self._tokens.append(token)
        return token

    def forget_later(self, token: str) -> None:
        """End this far relay at the end of the test."""
        self._tokens.append(token)

    def serve_in_sight(self) -> str:
        """Start a far relay whose error output fails the test, and return its token."""
        token, root = new_token(), str(Path(__file__).parents[2])
        words = [sys.executable, "-I", "-S", "-E", "-c", IN_SIGHT, root, token, str(self.echo.port)]
        relay = subprocess.Popen(words, env=self.env, stderr=self._words.fileno())
        self._relays.append(relay)
        name = f".cache/trayagent/*/{token[:16]}.roam"
        wait_for(lambda: any(self.home.glob(name)), "the far relay listens")
        return token

    def channel(self, token: str) -> socket.socket:
        """Return our end of a channel to a far relay."""
        ours, theirs = socket.socketpair()
        if self.small_buffers:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the system rounds it up
        words = [*ALONE, "attach", token[:16]]
        self.children.append(
            subprocess.Popen(words, stdin=theirs.fileno(), stdout=theirs.fileno(), env=self.env)
        )
        theirs.close()
        return ours

    def hang_up(self) -> None:
        """End all channels, as the loss of an outer master does."""
        for child in self.children:
            child.kill()
            child.wait()
        self.children.clear()

    def start(self, token: str, roam_for_s: float = 3600) -> socket.socket:
        """Begin a connection, and return ssh's end of it."""
        inner = self.client.start(token, roam_for_s, "web01")
        inner.settimeout(60)
        return inner

    def attach(self, token: str, client: NearClient | None = None) -> dict[str, Any]:
        """Attach over a new channel, and return the near relay's answer."""
        with self.channel(token) as ours:
            return (client or self.client).ask("attach", [ours.fileno()], id=token[:16])

    def connect(self) -> tuple[str, socket.socket]:
        """Return the token and ssh's end of a connection that works."""
        token = self.serve()
        inner = self.start(token)
        answer = self.attach(token)
        assert answer["ok"], answer
        return token, inner

    def state(self, token: str) -> dict[str, Any] | None:
        """Return the entry of a connection in `status`, or None."""
        with NearClient(self.path) as client:
            found = client.ask("status")["sessions"]
        return next((one for one in found if one["id"] == token[:16]), None)

    def is_state(self, token: str, state: str) -> Callable[[], bool]:
        """Return a condition for `wait_for`: the connection is in this state."""
        return lambda: (self.state(token) or {"state": "over"})["state"] == state

    def relays(self) -> list[dict[str, Any]]:
        """Return the relays that `list` prints."""
        found: list[dict[str, Any]] = self.far("list")["relays"]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self.near.kill()
        self.near.wait()
        self.hang_up()
        for token in self._tokens:
            self.far("end", text=token + "\n")
        for relay in self._relays:
            relay.kill()
            relay.wait()
        self.echo.close()
        self._short.cleanup()
        self._words.seek(0)
        words = self._words.read()
        self._words.close()
        assert not words, words


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        assert more, f"the end came after {len(data)} of {size} bytes"
        data += more
    return data


def to_the_end(connection: socket.socket) -> bytes:
    """Read all data up to the end."""
    data = b""
    while more := connection.recv(1 << 16):
        data += more
    return data


def switches(pid: int) -> int:
    """Return the number of context switches of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def quiet(pid: int, seconds: float = 3.0) -> int:
    """Wait until a process sleeps. Then return the number of its context switches in this time."""
    wait_for(
        lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S",
        "the process sleeps",
    )
    before = switches(pid)
    time.sleep(seconds)
    return switches(pid) - before
