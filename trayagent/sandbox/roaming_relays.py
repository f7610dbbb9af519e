"""The two roaming relays in the laboratory. The classes here do the agent's part."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from trayagent.errors import TrayagentError
from trayagent.roaming.near_client import FAR_RELAY, NearClient, near_command, new_token
from trayagent.sandbox.lab import Lab

FAR = "cd ~/.cache/trayagent && exec python3 -s -S -E -m far_relay"
DEADLINE_S = 60.0  # enough for a login on a busy machine
_FDPASS = Path(__file__).parents[1] / "ssh/master/fdpass.py"
# Connects to a TCP port of the laptop's network, and passes the connection to the socket in the first argument.
_DIALS = """
import socket, sys
dialled = socket.create_connection((sys.argv[2], int(sys.argv[3])), 60)
dialled.settimeout(None)
dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
offer = socket.socket(socket.AF_UNIX)
offer.connect(sys.argv[1])
socket.send_fds(offer, [b"x"], [dialled.fileno()])
"""


class NearRelay:
    """A near relay in the laptop."""

    def __init__(self, lab: Lab, name: str = "near") -> None:
        self.path = str(lab.files.runtime / f"{name}.sock")
        self.process = lab.laptop.popen(near_command(self.path))
        wait_for(lambda: Path(self.path).exists(), "the near relay listens")
        self.client = NearClient(self.path)

    @property
    def pid(self) -> int:
        """The relay's process id."""
        return self.process.pid

    def session(self, token: str) -> dict[str, Any] | None:
        """Return the entry of a connection in `status`, or None if the connection has ended."""
        found = self.client.ask("status")["sessions"]
        return next((one for one in found if one["id"] == token[:16]), None)

    def close(self) -> None:
        """End the near relay, and with it all its connections."""
        self.client.close()
        self.process.kill()
        self.process.wait()


class RoamingHost:
    """One host whose inner master runs through both relays, over one outer connection after another.

    `host` is an alias in the laptop's ssh_config. `inner` and `outer` are extra arguments for the inner and
    outer ssh.
    """

    def __init__(
        self, lab: Lab, near: NearRelay, host: str, *, inner: Sequence[str] = (), outer: Sequence[str] = ()
    ) -> None:
        self.lab, self.near, self.host = lab, near, host
        self._inner_words, self._outer_words = inner, outer
        self.token = new_token()
        self.ports = ""  # where the far relay also listens, such as 60001-60010
        self.control_path = str(lab.files.runtime / f"in-{self.token[:8]}")
        self._offer = str(lab.files.runtime / f"fd-{self.token[:8]}")
        self.log = lab.files.root / f"inner-{self.token[:8]}.log"
        self._inner: socket.socket | None = None
        self.outers: list[subprocess.Popen[str]] = []
        self.master: subprocess.Popen[str] | None = None

    def remote(self, command: str, text: str = "", *, tries: Sequence[str] = ()) -> str:
        """Run a command on the server with a plain ssh; return its output."""
        words = ["ssh", "-S", "none", *self._outer_words, *tries, self.host, command]
        return self.lab.laptop.run(words, text=text, deadline_s=DEADLINE_S).stdout

    def install(self) -> None:
        """Put the far relay on the server."""
        self.remote(
            "umask 077; mkdir -p ~/.cache/trayagent; cat >~/.cache/trayagent/far_relay.py",
            FAR_RELAY.read_text(),
        )

    def far(self, *words: str, text: str = "") -> dict[str, Any]:
        """Run a command of the far relay, and return its answer."""
        return marked(self.remote(f"{FAR} {' '.join(words)}", text))

    def serve(self, roam_for_s: float = 3600) -> dict[str, Any]:
        """Start the far relay."""
        command = f'set -- $SSH_CONNECTION; {FAR} serve "$3" "$4" {roam_for_s:g} lab {self.ports}'
        return marked(self.remote(command, self.token + "\n"))

    def start(self, roam_for_s: float = 3600) -> None:
        """Begin the connection in the near relay."""
        self._inner = self.near.client.start(self.token, roam_for_s, self.host)

    def launch(self) -> None:
        """Start the inner master on the descriptor that the near relay passes.

        Return when the master accepts sessions.
        """
        inner, self._inner = self._inner, None
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._offer)
        listener.listen(1)
        threading.Thread(target=_offer, args=(listener, inner), daemon=True).start()
        proxy = f"{sys.executable} -I -S {_FDPASS} {self._offer}"
        options = [f"ProxyCommand={proxy}", "ProxyUseFdpass=yes", f"ControlPath={self.control_path}"]
        options += ["ControlPersist=no", "ServerAliveInterval=0"]
        words = [word for option in options for word in ("-o", option)]
        with self.log.open("a") as log:
            self.master = self.lab.laptop.popen(
                ["ssh", "-M", "-N", *self._inner_words, *words, self.host], stderr=log
            )
        wait_for(lambda: Path(self.control_path).exists(), "the inner master listens")

    def channel(self) -> tuple[subprocess.Popen[str], socket.socket]:
        """Open a channel to the far relay through a new outer ssh."""
        ours, theirs = socket.socketpair()
        words = [
            "ssh",
            "-S",
            "none",
            *self._outer_words,
            self.host,
            f"{FAR} attach {self.token[:16]}",
        ]
        outer = self.lab.laptop.popen(words, stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()
        self.outers.append(outer)
        return outer, ours

    def attach(self, far_path: str | None = None) -> dict[str, Any]:
        """Attach over a new outer ssh; return the near relay's answer. `far_path`: use the socket there."""
        _, ours = self.link(far_path) if far_path else self.channel()
        with ours:
            return self.near.client.ask("attach", [ours.fileno()], id=self.token[:16])

    def attach_port(self, address: str, port: int) -> None:
        """Move the link to the far relay's TCP port. Raise TrayagentError (sandbox-broken) if that fails."""
        offer = f"{self._offer}-port"
        words = [sys.executable, "-I", "-c", _DIALS, offer, address, str(port)]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(offer)
            listener.listen(1)
            self.lab.laptop.check(words)
            with listener.accept()[0] as dialled:
                _, fds, _, _ = socket.recv_fds(dialled, 1, 1)
        with socket.socket(fileno=fds[0]) as link:
            answer = self.near.client.ask("attach-port", [link.fileno()], id=self.token[:16])
        if not answer["ok"]:
            raise TrayagentError(f"the near relay did not attach: {answer}", code="sandbox-broken")

    def link(self, far_path: str) -> tuple[subprocess.Popen[str], socket.socket]:
        """Connect to the far relay's socket through a local forward of a new outer ssh, as the agent does."""
        local = f"{self._offer}-link"
        words = ["ssh", "-S", "none", "-N", "-L", f"{local}:{far_path}", *self._outer_words, self.host]
        outer = self.lab.laptop.popen(words)
        self.outers.append(outer)
        wait_for(lambda: Path(local).exists(), "the outer ssh listens")
        ours = socket.socket(socket.AF_UNIX)
        ours.connect(local)
        Path(local).unlink()
        ours.send(b'{"do": "link"}\n')
        return outer, ours

    def cut(self) -> None:
        """Kill all outer ssh processes."""
        for outer in self.outers:
            outer.kill()
            outer.wait()
        self.outers.clear()

    def connect(self, *, install: bool = True, direct: bool = False) -> None:
        """Do all steps from the far relay's installation to an inner master that accepts sessions.

        `direct`: connect to the far relay's socket, as the agent does if the server allows that.
        """
        if install:
            self.install()
        said = self.serve()
        if "error" in said:
            raise TrayagentError(f"the far relay did not start: {said}", code="sandbox-broken")
        self.start()
        answer = self.attach(said["path"] if direct else None)
        if not answer["ok"]:
            raise TrayagentError(f"the near relay did not attach: {answer}", code="sandbox-broken")
        self.launch()

    def through(self, *words: str) -> list[str]:
        """Return the command line of an ssh that uses the inner master."""
        return ["ssh", "-S", self.control_path, "-o", "ControlMaster=no", *words]

    def exit(self) -> None:
        """End the inner master as `ssh -O exit` does, and return when both relays have noticed."""
        assert self.master  # noqa: S101 - it was launched
        self.master.send_signal(signal.SIGTERM)
        wait_for(lambda: self.near.session(self.token) is None, "the connection is over")

    def close(self) -> None:
        """End the inner ssh and the outer ones."""
        if self._inner:
            self._inner.close()
        if self.master and self.master.poll() is None:
            self.master.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.master.wait(5)
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def marked(output: str) -> dict[str, Any]:
    """Return the far relay's own output from a command's whole output."""
    line = output.partition("TRAYAGENT-ROAM ")[2].partition("\n")[0]
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        raise TrayagentError(f"no far relay answered: {output[-500:]!r}", code="sandbox-broken") from None
    return found


def wait_for(condition: Any, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition is true. Raises TrayagentError (sandbox-broken) after the deadline."""
    limit = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > limit:
            raise TrayagentError(f"not within {deadline_s:g} s: {what}", code="sandbox-broken")
        time.sleep(0.01)


def _offer(listener: socket.socket, inner: socket.socket | None) -> None:
    """Pass the descriptor to the first connection, which is ssh's helper."""
    assert inner  # noqa: S101 - `start` came before
    with listener, inner:
        helper, _ = listener.accept()
        with helper:
            socket.send_fds(helper, [b"\0"], [inner.fileno()])
