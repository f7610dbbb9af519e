"""Run one ssh through the host's master, and find out how ssh ended: the connection died, or the user left.

Theory of operation. An ssh that uses a master ends with 255 when the master dies, but also after `~.`, and if
the remote program ends with 255. To distinguish these, `attach` checks whether the master still runs. It holds a
connection to the master's control socket: the kernel closes it when the master dies, and at no other time. This
connection sends nothing. It does not prolong the life of a ControlPersist master, because the session does that.

Without a master, ssh would connect directly, without the agent, and hang at the next change of network.
ProxyCommand=false makes it fail instead.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile

from trayagent.attach.during_session import Journey
from trayagent.attach.keyboard import Keyboard
from trayagent.config import runtime_directory as folders
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from trayagent.attach.agent_link import Link
    from trayagent.attach.session import Session
    from trayagent.attach.terminal import Terminal

    How = Literal["left", "died", "stuck", "refused", "no-master"]

LOST = 255
"""ssh's exit status after an error (ssh(1), EXIT STATUS), also when its master dies."""
_DEATH_SPREADS_S = 0.2
"""Wait this long for the end of the master: the kernel closes a dead process's sockets one after the other."""
_END_S = 1.0


class Ride:
    """How one run of ssh ended. `status` is ssh's exit status, `output` its error text.

    `how` is one of these. "left": the user or the remote program ended it. "died": the connection was lost.
    "stuck": nothing got through, so `attach` ended ssh. "refused": the master runs but opened no session.
    "no-master": no process listens on the control path.
    """

    def __init__(self, how: How, status: int = LOST, output: str = "") -> None:
        self.how = how
        self.status = status
        self.output = output


class Passenger:
    """Runs ssh through a host's master. `words`: the ssh program and its general options."""

    def __init__(self, words: Sequence[str], session: Session, terminal: Terminal, link: Link) -> None:
        self._words = words
        self._session = session
        self._terminal = terminal
        self._link = link
        self._ridden = False

    def ride(self, control_path: str, *, again: bool) -> Ride:
        """Run ssh on the terminal until it ends. `again`: an earlier connection was lost.

        Raises KeyboardInterrupt, TrayagentError (ssh-missing).
        """
        master = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = folders.runtime_dir(os.environ)
        with master, tempfile.NamedTemporaryFile(prefix="attach-", dir=folder) as log:
            try:
                master.settimeout(blocking_client.CONNECT_TIMEOUT_S)
                master.connect(control_path)
            except OSError:
                return Ride("no-master")
            words = [*self._words, *_options(control_path, log.name), *_target(self._session, again=again)]
            status, why = self._run(words)
            output = log.read().decode(errors="replace").strip()
            if why is not None:
                return Ride(why)
            if status != LOST:
                return Ride("left", status, output)
            if _closed(master):
                return Ride("died")
            return Ride("refused", status, output) if output else Ride("left", status)

    def _run(self, words: list[str]) -> tuple[int, Literal["stuck", "left"] | None]:
        """Run ssh in the foreground. Return its exit status (128 + n for signal n), and why `attach` ended it."""
        keyboard = Keyboard(self._terminal.modes)
        self._terminal.lend()
        status = LOST
        try:
            try:
                child = subprocess.Popen(words, stdin=keyboard.slave)
            except OSError as error:
                title = f"{words[0]} cannot be run: {error.strerror}"
                raise TrayagentError(title, code="ssh-missing", hint="Install OpenSSH's client.") from error
            if not self._ridden:  # at the first start the user is present, later perhaps not
                self._ridden = True
                self._link.request("attached", {"host": self._session.host})
            try:
                why = Journey(child, keyboard, self._session, self._terminal, self._link).go()
            finally:
                status = _end(child)
        finally:
            # Without an error or a signal, the remote program ended normally and restored the terminal itself.
            self._terminal.take_back(
                broken=status == LOST or status < 0, behind_words=not self._session.stays
            )
            keyboard.close()
        return (128 - status if status < 0 else status), why


def _options(control_path: str, log: str) -> list[str]:
    """Return the options that make ssh use only the master, and write its errors to the log instead of the screen."""
    return [
        "-S", control_path.replace("%", "%%"),  # ssh expands %-tokens in the path
        "-E", log,
        "-o", "LogLevel=ERROR",
        "-o", "ControlMaster=no",
        # Otherwise ssh requests the forwards of ssh_config again. If one fails, ssh bypasses the master.
        "-o", "ClearAllForwardings=yes",
        "-o", "ProxyCommand=false",
        "-o", "BatchMode=yes",
        "-o", "ForkAfterAuthentication=no",
        "-o", "StdinNull=no",
        "-o", "SessionType=default",
        "-tt",
    ]  # fmt: skip


def _target(session: Session, *, again: bool) -> list[str]:
    """Return ssh's arguments for the host and the command. Without a command, ssh runs RemoteCommand or a shell."""
    command = session.command(again=again)
    if command is None:
        return ["--", session.host]
    return ["-o", "RemoteCommand=none", "--", session.host, command]


def _end(child: subprocess.Popen[bytes]) -> int:
    """End the process if it still runs. Return its exit status, negative if a signal ended it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _closed(master: socket.socket) -> bool:
    """Report whether the master has ended. Discard its HELLO (PROTOCOL.mux, section 1)."""
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
