"""One ssh through the host's master, and how it ended: the connection died under it, or the person left.

Theory of operation. ssh as a passenger of a master ends with 255 the moment the master dies, but
also after `~.` and after a program that ended with 255. What tells them apart is whether the master
is still there, so we hold a connection of our own to its control socket: the kernel closes it when
the master dies, and at no other time. It asks nothing and costs nothing; the session beside it keeps
a ControlPersist master alive anyway.

ssh that finds no master would connect directly, past the agent, and hang at the next change of
network. ProxyCommand=false makes that a failure.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import time

from trayagent.config import folders
from trayagent.errors import TrayagentError
from trayagent.ipc import client

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from trayagent.attach.link import Link
    from trayagent.attach.terminal import Terminal
    from trayagent.ipc.heard import Heard

    How = Literal["left", "died", "stuck", "refused", "no-master"]

LOST = 255
"""ssh(1), EXIT STATUS: an error occurred; a passenger's, when its master has died."""
_DEATH_SPREADS_S = 0.2
"""The kernel closes a dead process's sockets one after the other, and a busy machine takes its time."""
_SILENT_S = 2.0
"""A session is open after two round trips; one that takes longer than this hangs on a master that may be stale."""
_END_S = 1.0
_USABLE = frozenset({"connected", "paused", "idle"})
_OFFLINE = frozenset({"offline", "needs-vpn"})
_OFFLINE_S = 1.0
"""A gap between two access points passes faster, and then the picture need not change."""
_DOUBTED_S = 4.0
"""Most doubts are settled within a second, either way; with a slow line it takes some more."""


class Ride:
    """How an attempt ended: `status` is ssh's, `said` what it complained about.

    `left`: the person, or the program on the far side, ended it. `died`: the connection did.
    `stuck`: nothing gets through, and we ended it. `refused`: the master lives, and gave no session.
    `no-master`: nobody listens on the control path. `since` is the monotonic time in s when it became useless.
    """

    def __init__(self, how: How, status: int = LOST, said: str = "", since: float | None = None) -> None:
        self.how = how
        self.status = status
        self.said = said
        self.since = time.monotonic() if since is None else since


class Passenger:
    """Runs ssh through a host's master; `words` are the program and its own options.

    A session that `stays` on the far side is ended here when nothing gets through any more: then one line
    says so, and what is typed is not sent later. A plain shell would not survive that.
    """

    def __init__(
        self, words: Sequence[str], host: str, terminal: Terminal, link: Link, *, stays: bool
    ) -> None:
        self._words = words
        self._host = host
        self._terminal = terminal
        self._link = link
        self._stays = stays
        self._ridden = False
        self._bell, ring = os.pipe()
        os.set_blocking(ring, False)
        os.set_blocking(self._bell, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only rings

    def ride(self, control_path: str, command: str | None) -> Ride:
        """Run ssh on the terminal until it ends; `command` None is a login shell, or ssh_config's RemoteCommand.

        Raises TrayagentError (ssh-missing).
        """
        master = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with (
            master,
            tempfile.NamedTemporaryFile(prefix="attach-", dir=folders.runtime_dir(os.environ)) as log,
        ):
            try:
                master.settimeout(client.CONNECT_TIMEOUT_S)
                master.connect(control_path)
            except OSError:
                return Ride("no-master")
            words = [*self._words, *_options(control_path, log.name), *_target(self._host, command)]
            status, stuck_since = self._run(words)
            said = log.read().decode(errors="replace").strip()
            if stuck_since is not None:
                return Ride("stuck", since=stuck_since)
            if status != LOST:
                return Ride("left", status, said)
            if _closed(master):
                return Ride("died")
            return Ride("refused", status, said) if said else Ride("left", status)

    def _run(self, words: list[str]) -> tuple[int, float | None]:
        """Run ssh in the foreground and return its exit status (128 + n for signal n), and since when it was stuck."""
        self._terminal.lend()
        status, stuck_since = LOST, None
        try:
            try:
                child = subprocess.Popen(words)
            except OSError as error:
                title = f"{words[0]} cannot be run: {error.strerror}"
                raise TrayagentError(title, code="ssh-missing", hint="Install OpenSSH's client.") from error
            try:
                stuck_since = self._accompany(child)
            finally:
                status = _end(child)
        finally:
            # With another status the far side's program ended by itself, and left the terminal as it found it.
            self._terminal.take_back(broken=status == LOST or status < 0, behind_words=not self._stays)
        return (128 - status if status < 0 else status), stuck_since

    def _accompany(self, child: subprocess.Popen[bytes]) -> float | None:
        """Return when ssh has ended, or nothing gets through it any more: then since when."""
        if not self._ridden:  # an attach is where the person is; what follows may be without them
            self._ridden = True
            self._link.ask("attached", {"host": self._host})
        look_at: float | None = time.monotonic() + _SILENT_S
        stuck = Stuck()
        while child.poll() is None:
            with contextlib.suppress(TrayagentError):  # an agent gone wrong does no harm to a session
                self._link.follow()
            now = time.monotonic()
            if look_at is not None and now >= look_at:
                look_at = None
                if not self._terminal.is_raw:
                    self._link.look()
            until = [look_at - now] if look_at is not None else []
            if self._stays:
                left_s = stuck.left_s(self._link.host, now)
                if left_s is not None and left_s <= 0:
                    return stuck.since
                until += [left_s] if left_s is not None else []
            until += [again] if (again := self._link.again_in_s) is not None else []
            sources: list[int | Heard] = [self._bell, *self._link.sources]
            select.select(sources, [], [], max(min(until), 0.0) if until else None)
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)
        return None


class Stuck:
    """Since when the agent has said that nothing gets through; pure."""

    def __init__(self) -> None:
        self.since: float | None = None

    def left_s(self, seen: dict[str, Any] | None, now: float) -> float | None:
        """Return how long it may go on like this, None where it need not end."""
        state = seen["state"] if seen is not None else None
        if state is None or state in _USABLE:
            self.since = None
            return None
        if self.since is None:
            self.since = now
        return self.since + (_OFFLINE_S if state in _OFFLINE else _DOUBTED_S) - now


def _options(control_path: str, log: str) -> list[str]:
    """Return what makes ssh a passenger and nothing else; its complaints go to the log, not into the picture."""
    return [
        "-S", control_path.replace("%", "%%"),  # a % would begin a token
        "-E", log,
        "-o", "LogLevel=ERROR",
        "-o", "ControlMaster=no",
        # Forwards that ssh_config names would be asked for again, and one that fails makes ssh bypass the master.
        "-o", "ClearAllForwardings=yes",
        "-o", "ProxyCommand=false",
        "-o", "BatchMode=yes",
        "-o", "ForkAfterAuthentication=no",
        "-o", "StdinNull=no",
        "-o", "SessionType=default",
        "-tt",
    ]  # fmt: skip


def _target(host: str, command: str | None) -> list[str]:
    return ["--", host] if command is None else ["-o", "RemoteCommand=none", "--", host, command]


def _end(child: subprocess.Popen[bytes]) -> int:
    """Return its exit status; end it if it has not ended. ssh puts the terminal right at a SIGTERM."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _closed(master: socket.socket) -> bool:
    """Report whether the master is gone; its HELLO (PROTOCOL.mux, section 1) is read away."""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    master.setblocking(False)
    while poll.poll(_DEATH_SPREADS_S * 1e3):
        try:
            if not master.recv(4096):
                return True
        except BlockingIOError:
            continue
        except OSError:
            return True
    return False
