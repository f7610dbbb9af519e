"""Run `attach`: open one session after the other until the user leaves."""

from __future__ import annotations

import os
import signal
import time

from trayagent.attach.agent_link import Link
from trayagent.attach.between_sessions import Left, Waiting
from trayagent.attach.login import log_in
from trayagent.attach.session import Session
from trayagent.attach.ssh_run import Passenger, Ride
from trayagent.attach.start_agent import ensure_agent
from trayagent.attach.terminal import Terminal
from trayagent.config import file_paths
from trayagent.errors import TrayagentError
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

_SHORT_S = 1.0
"""If a connection dies sooner than this, no session was open. Then the pause before the next attempt grows."""
_PAUSE_S, _PAUSE_MOST_S = 0.1, 5.0
_BRIEF_S = 3.0
"""If several connections in a row die sooner than this, the server ends them. A change of network rarely does that."""
_BRIEF_ONES = 3
"""Report this after so many, and report no further new shell until a session lasts."""
_REFUSALS = 5
"""Retry this often: a server with a small MaxSessions may still count the session that was just closed."""
_FIRST_REFUSALS = 3
"""Retry a refused first session this often: the agent ends its sentinel meanwhile, which makes room."""


def attach(host: str, name: str | None, config: str | None = None) -> int:
    """Keep the user in a session on the host until the user leaves it. Return the exit status.

    `name` is the session's name, None for the default. Raises TrayagentError when no session is possible, and
    KeyboardInterrupt for Ctrl-C while there is no session.
    """
    found = file_paths.find(config)
    session = Session(host, name, found.config_file)
    terminal = Terminal()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    own = {"TRAYAGENT_CONFIG": str(found.config_file)} if config is not None else {}
    if log := ensure_agent({**os.environ, **own}):
        started = _("no agent was running. Started one; it logs to {file}").format(file=log)
        terminal.print_line(f"trayagent: {started}")
    if session.note:
        terminal.print_line(f"trayagent: {session.note}")
    link = Link(host)
    words = [found.ssh, *(["-F", str(found.ssh_config)] if found.ssh_config is not None else [])]
    passenger = Passenger(words, session, terminal, link)
    waiting = Waiting(host, terminal, link, lambda name: log_in(name, terminal.print_line))
    try:
        return _sessions(session, terminal, passenger, waiting)
    except Left as left:
        return left.status
    finally:
        link.close()


def _sessions(session: Session, terminal: Terminal, passenger: Passenger, waiting: Waiting) -> int:
    """Open session after session, and return the exit status of the session that the user left."""
    path = waiting.first()
    again, pause_s, refusals, brief = False, 0.0, 0, 0
    while True:
        began = time.monotonic()
        ended = passenger.ride(path, again=again)
        refusals = refusals + 1 if ended.how == "refused" else 0
        if ended.how == "left" or refusals > (_REFUSALS if again else _FIRST_REFUSALS):
            return _ended(ended, session.host)
        lasted_s = time.monotonic() - began
        if ended.how in {"died", "stuck"}:
            brief = brief + 1 if lasted_s < _BRIEF_S else 0
        if lasted_s >= _SHORT_S:
            pause_s = 0.0
        else:
            time.sleep(pause_s)
            pause_s = min(max(pause_s * 2, _PAUSE_S), _PAUSE_MOST_S)
        if (
            ended.how != "died" or pause_s
        ):  # a dead master usually has a successor on the same path already, so try that first
            path = waiting.control_path()
        if ended.how != "no-master":
            again = True
            if brief == _BRIEF_ONES:
                _report_brief_sessions(terminal, session.host)
            elif not session.stays and brief < _BRIEF_ONES:
                words = _("the connection to {host} was lost; this is a new shell").format(host=session.host)
                terminal.print_line(f"trayagent: {words}")


def _report_brief_sessions(terminal: Terminal, host: str) -> None:
    """Print once what the user can do while each connection dies as soon as a session is open."""
    words = _(
        "the connection to {host} ends each time a session begins. attach keeps trying; Ctrl-C leaves. "
        "To see the reason: {command}"
    ).format(host=host, command=f"ssh -S none {host}")
    terminal.print_line(f"trayagent: {words}")


def _ended(ended: Ride, host: str) -> int:
    if ended.output:
        raise Complaint(ended, host)
    return ended.status


class Complaint(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """ssh reported an error. The hint has ssh's text, `session_status` its exit status."""

    def __init__(self, ended: Ride, host: str) -> None:
        hint = ended.output.splitlines()[0]
        if "open refused" in hint:  # sshd_config(5), MaxSessions
            hint = "The server allows no more sessions on one connection: close another terminal, or raise MaxSessions."
        refused = ended.how == "refused"
        super().__init__(
            f"{host} opened no session." if refused else f"ssh reported an error for {host}.", hint=hint
        )
        self.session_status = ended.status


def _leave(number: int, _frame: Any) -> None:
    """Exit after a signal, so that the terminal is restored and ssh is ended, as after Ctrl-C."""
    raise SystemExit(128 + number)
