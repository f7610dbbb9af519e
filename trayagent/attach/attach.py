"""`attach`: one session after the other, until the person leaves."""

from __future__ import annotations

import os
import secrets
import signal
import time

from trayagent.attach import far_command
from trayagent.attach.link import Link
from trayagent.attach.ride import Passenger, Ride
from trayagent.attach.start_agent import ensure_agent
from trayagent.attach.terminal import Terminal
from trayagent.attach.waiting import Left, Waiting
from trayagent.config import load, places
from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    from trayagent.config.places import Places

FAILED = 255
DEFAULT_NAME = "main"
_SHORT_S = 1.0
"""A connection that dies sooner gave no session; the next attempt waits, ever longer, up to _PAUSE_MOST_S."""
_PAUSE_S, _PAUSE_MOST_S = 0.1, 5.0


def attach(host: str, name: str | None, config: str | None = None) -> int:
    """Stay in the host's session until the person leaves it, and return the exit status.

    Raises TrayagentError for what cannot be, and KeyboardInterrupt for Ctrl-C while there is no session.
    """
    found = places.find(config)
    session = Session(host, name, found)
    terminal = Terminal()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if log := ensure_agent(os.environ):
        terminal.say(f"trayagent: an agent was started in the background; its log is {log}")
    if session.note:
        terminal.say(f"trayagent: {session.note}")
    link = Link(host)
    passenger = Passenger(_ssh(found), host, terminal, link, stays=session.stays)
    try:
        return _sessions(session, passenger, Waiting(host, terminal, link, _log_in))
    except Left as left:
        return left.status
    finally:
        link.close()


class Session:
    """Which session is wanted on the far side; raises TrayagentError where it cannot be.

    `note` is what the person should know before it begins, `stays` whether it outlives a connection.
    """

    def __init__(self, host: str, name: str | None, found: Places) -> None:
        described = load.load(found.config_file).hosts.get(host)
        kind: str | tuple[str, ...] = described.session if described is not None else "shell"
        if name is not None:
            far_command.check_name(name)
        if kind == "shell" and name is not None:
            kind = "tmux"  # a name is asked for, and a shell has none
        if isinstance(kind, tuple) and name is not None:
            what = f"The session of {host} is the command {' '.join(kind)}: it takes no name."
            hint = f'Leave {name} out, or set [hosts.{host}] session to "tmux" or "screen".'
            raise TrayagentError(what, code="session-name", hint=hint)
        self.host = host
        self._kind = kind
        self._name = name or DEFAULT_NAME
        self._token = f"trayagent-{secrets.token_hex(8)}"
        self.stays = kind != "shell"
        self.note = "" if self.stays else (
            "a plain shell, opened anew after a change of network. "
            f"One that stays, in tmux: trayagent attach {host} {DEFAULT_NAME}"
        )  # fmt: skip

    def command(self, *, again: bool) -> str | None:
        """Return what sshd is to run, None for a login shell."""
        if self._kind == "shell":
            return None
        if isinstance(self._kind, str):
            return far_command.multiplexer(self._kind, self._name, self._token, again=again)
        return far_command.words(self._kind, self._token, again=again)


def _sessions(session: Session, passenger: Passenger, waiting: Waiting) -> int:
    """Open session after session; return the status of the one that the person left."""
    path = waiting.first()
    again, pause_s = False, 0.0
    while True:
        began = time.monotonic()
        ended = passenger.ride(path, session.command(again=again))
        if ended.how in {"left", "refused"}:
            return _ended(ended, session.host)
        again |= ended.how != "no-master"
        if time.monotonic() - began >= _SHORT_S:
            pause_s = 0.0
            if ended.how == "died":
                continue  # the agent kills a master when the next one listens on its path: no question is faster
        else:
            time.sleep(pause_s)
            pause_s = min(max(pause_s * 2, _PAUSE_S), _PAUSE_MOST_S)
        path = waiting.control_path(ended.since)


def _ended(ended: Ride, host: str) -> int:
    if ended.how == "refused" or ended.said:
        raise Refusal(ended, host)
    return ended.status


class Refusal(TrayagentError):  # noqa: N818  # it names what happened, and is shown to people
    """ssh complained; its words, and the status that it ended with."""

    def __init__(self, ended: Ride, host: str) -> None:
        hint = ended.said.splitlines()[-1]
        refused = ended.how == "refused"
        super().__init__(
            f"{host} gave no session." if refused else f"ssh complained about {host}.", hint=hint
        )
        self.session_status = ended.status


def _ssh(found: Places) -> list[str]:
    return [found.ssh, *(["-F", str(found.ssh_config)] if found.ssh_config is not None else [])]


def _log_in(host: str) -> int:
    raise TrayagentError(f"{host} asks for you.", code="auth-denied", hint=f"Log in: trayagent login {host}")


def _leave(number: int, _frame: Any) -> None:
    """End as after Ctrl-C: the terminal is put right, and ssh does not stay behind."""
    raise SystemExit(128 + number)
