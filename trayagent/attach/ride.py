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

import os
import select
import socket
import subprocess
import tempfile

from trayagent.attach.journey import Journey
from trayagent.attach.keyboard import Keyboard
from trayagent.config import folders
from trayagent.errors import TrayagentError
from trayagent.ipc import client

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from trayagent.attach.link import Link
    from trayagent.attach.session import Session
    from trayagent.attach.terminal import Terminal

    How = Literal["left", "died", "stuck", "refused", "no-master"]

LOST = 255
"""ssh(1), EXIT STATUS: an error occurred; a passenger's, when its master has died."""
_DEATH_SPREADS_S = 0.2
"""The kernel closes a dead process's sockets one after the other, and a busy machine takes its time."""
_END_S = 1.0


class Ride:
    """How an attempt ended: `status` is ssh's, `said` what it complained about.

    `left`: the person, or the program on the far side, ended it. `died`: the connection did.
    `stuck`: nothing gets through, and we ended it. `refused`: the master lives, and gave no session.
    `no-master`: nobody listens on the control path.
    """

    def __init__(self, how: How, status: int = LOST, said: str = "") -> None:
        self.how = how
        self.status = status
        self.said = said


class Passenger:
    """Runs ssh through a host's master; `words` are the program and its own options."""

    def __init__(self, words: Sequence[str], session: Session, terminal: Terminal, link: Link) -> None:
        self._words = words
        self._session = session
        self._terminal = terminal
        self._link = link
        self._ridden = False

    def ride(self, control_path: str, *, again: bool) -> Ride:
        """Run ssh on the terminal until it ends; `again` after a connection that was lost.

        Raises KeyboardInterrupt, TrayagentError (ssh-missing).
        """
        master = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = folders.runtime_dir(os.environ)
        with master, tempfile.NamedTemporaryFile(prefix="attach-", dir=folder) as log:
            try:
                master.settimeout(client.CONNECT_TIMEOUT_S)
                master.connect(control_path)
            except OSError:
                return Ride("no-master")
            words = [*self._words, *_options(control_path, log.name), *_target(self._session, again=again)]
            status, why = self._run(words)
            said = log.read().decode(errors="replace").strip()
            if why is not None:
                return Ride(why)
            if status != LOST:
                return Ride("left", status, said)
            if _closed(master):
                return Ride("died")
            return Ride("refused", status, said) if said else Ride("left", status)

    def _run(self, words: list[str]) -> tuple[int, Literal["stuck", "left"] | None]:
        """Run ssh in the foreground; return its exit status (128 + n for signal n), and why if we ended it."""
        keyboard = Keyboard(self._terminal.modes)
        self._terminal.lend()
        status = LOST
        try:
            try:
                child = subprocess.Popen(words, stdin=keyboard.slave)
            except OSError as error:
                title = f"{words[0]} cannot be run: {error.strerror}"
                raise TrayagentError(title, code="ssh-missing", hint="Install OpenSSH's client.") from error
            if not self._ridden:  # an attach is where the person is; what follows may be without them
                self._ridden = True
                self._link.ask("attached", {"host": self._session.host})
            try:
                why = Journey(child, keyboard, self._session, self._terminal, self._link).go()
            finally:
                status = _end(child)
        finally:
            # With another status the far side's program ended by itself, and left the terminal as it found it.
            self._terminal.take_back(
                broken=status == LOST or status < 0, behind_words=not self._session.stays
            )
            keyboard.close()
        return (128 - status if status < 0 else status), why


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


def _target(session: Session, *, again: bool) -> list[str]:
    """Return the host and the command; with none it is a login shell, or the RemoteCommand of ssh_config."""
    command = session.command(again=again)
    if command is None:
        return ["--", session.host]
    return ["-o", "RemoteCommand=none", "--", session.host, command]


def _end(child: subprocess.Popen[bytes]) -> int:
    """Return its exit status; end it if it has not ended."""
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
