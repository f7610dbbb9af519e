"""Wait between two sessions, until the agent reports a usable master or the user leaves."""

from __future__ import annotations

import select
import time

from trayagent.attach import status_line
from trayagent.attach.terminal import ENTER, INTERRUPT
from trayagent.errors import TrayagentError
from trayagent.ipc.errors import Refused
from trayagent.presentation.text import clean
from trayagent.presentation.translation import agent_text

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from trayagent.attach.agent_link import Link
    from trayagent.attach.terminal import Terminal
    from trayagent.ipc.nonblocking_client import Heard

_QUIET_S = 0.3
"""Show no line before an interruption has lasted this long."""
_AT_ONCE_S = 5.0
"""The longest wait for the first view. The agent is running, and usually answers within a millisecond."""
UNKNOWN_HOST = "unknown-host"
LEFT_BY_ESCAPE = 255  # the status of ssh after ~.


class Left(Exception):  # noqa: N818  # the name says what happened
    """The user stopped waiting. `status` is the exit status of the command."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Waiting:
    """Waits for a usable master of one host, between sessions.

    `log_in` lets the user log in at this terminal. It returns 0 when the host is connected, else an exit status.
    """

    def __init__(self, host: str, terminal: Terminal, link: Link, log_in: Callable[[str], int]) -> None:
        self._host = host
        self._terminal = terminal
        self._link = link
        self._log_in = log_in
        self._listening = False

    def first(self) -> str:
        """Return the control path for the first session.

        The user wants to connect now. So connect an idle host, and log in at once to a host that needs the user or
        that the agent does not know. Raises TrayagentError for a failed host, and Left.
        """
        try:
            self._link.follow()
            if self._link.view is None and self._link.sources:
                select.select(self._link.sources, [], [], _AT_ONCE_S)
                self._link.follow()
        except Refused as error:
            if error.code != UNKNOWN_HOST:
                raise
            self._sign_in()
        seen = self._link.host
        if seen is not None and seen["state"] == "failed":
            problem = seen["problem"] or {
                "title": f"{self._host} cannot be connected.",
                "code": "",
                "hint": "",
            }
            raise TrayagentError(problem["title"], code=problem["code"], hint=problem["hint"])
        if seen is not None and seen["state"] == "idle":
            self._connect()
        return self.control_path(eager=True)

    def control_path(self, *, eager: bool = False) -> str:
        """Wait until the agent reports a living master of the host, and return its control path.

        `eager`: if a login is needed, start it at once, without waiting for Enter; do so only once. Raises Left, and
        with `eager` TrayagentError.
        """
        since = time.monotonic()
        self._link.reconnect_often(True)
        try:
            while True:
                self._follow()
                if (path := self._ready()) is not None:
                    return path
                if eager and (seen := self._link.host) is not None and status_line.for_the_terminal(seen):
                    eager = False
                    self._terminal.clear()
                    self._listen_no_more()
                    self._sign_in()
                    continue
                waited = time.monotonic() - since
                if waited >= _QUIET_S:
                    self._listen()
                    self._terminal.show(
                        status_line.line(self._host, self._link.view, waited, self._link.interface)
                    )
                self._pause(waited)
        finally:
            self._link.reconnect_often(False)
            self._terminal.clear()
            self._listen_no_more()

    def _follow(self) -> None:
        try:
            self._link.follow()
        except Refused:  # the host is not in the configuration any more, but may come back
            if self._link.view is not None:
                self._link.view = {**self._link.view, "hosts": []}

    def _ready(self) -> str | None:
        """Return the control path of a usable master, else None. The master of a paused host is usable."""
        seen = self._link.host
        if seen is None or seen["pid"] is None or seen["state"] not in {"connected", "paused"}:
            return None
        path: str | None = seen["control_path"]
        return path

    def _go_on(self) -> None:
        """React to Enter: log in if the host needs the user, or request a connection."""
        seen = self._link.host
        if seen is not None and status_line.for_the_terminal(seen):
            self._terminal.clear()
            self._listen_no_more()
            try:
                self._sign_in()
            except Left:
                return  # the login failed, but the user may want to try again
            except TrayagentError as error:
                self._terminal.print_line(f"trayagent: {clean(agent_text(error.title))}")
        elif seen is None or seen["state"] in status_line.ENTER:
            self._connect()

    def _sign_in(self) -> None:
        if status := self._log_in(self._host):
            raise Left(status)

    def _connect(self) -> None:
        self._link.request("reconnect", {"hosts": [self._host]})

    # The user.

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._terminal.watch_keys()

    def _listen_no_more(self) -> None:
        if self._listening:
            self._listening = False
            self._terminal.release_keys()

    def _pause(self, waited: float) -> None:
        """Wait until the agent reports something, the user types, or the displayed line needs an update."""
        sources: list[int | Heard] = [*self._link.sources, *([0] if self._listening else [])]
        until = _QUIET_S - waited if waited < _QUIET_S else status_line.next_tick_s(waited)
        again = self._link.again_in_s
        readable, _, _ = select.select(sources, [], [], until if again is None else min(until, again))
        if 0 not in readable:
            return
        keys = self._terminal.keys()
        if INTERRUPT in keys:
            raise KeyboardInterrupt
        if not keys or self._terminal.wants_to_leave(keys):
            raise Left(LEFT_BY_ESCAPE)
        if ENTER.search(keys) and self._link.view is not None:
            self._go_on()
