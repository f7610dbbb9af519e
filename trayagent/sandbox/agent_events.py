"""Reads `trayagent events --json` of the agent in the laptop."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import Any

from trayagent.errors import TrayagentError
from trayagent.sandbox.inside_program import Lines
from trayagent.sandbox.namespaces import close_streams

# Long enough for a machine with several busy processes per core. Not longer, because a later check or retry
# of the agent could hide a failure: its first banner check comes after 15 s, its first long back-off after 20
# s.
WAIT_S = 15.0


class Events:
    """A reader of `trayagent events --json`. `seen` holds all events read so far."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._lines = Lines("trayagent events", child)
        self.seen: list[dict[str, Any]] = []

    def wait(self, event: str, host: str | None = None, *, deadline_s: float = WAIT_S) -> dict[str, Any]:
        """Return the next unread event of that name (and host, if given).

        Raises TrayagentError (sandbox-broken), which lists the events that came instead.
        """
        limit, begin = time.monotonic() + deadline_s, len(self.seen)
        while True:
            try:
                found = self._lines.next(max(0.0, limit - time.monotonic()))
            except TrayagentError as error:
                came = ", ".join(f"{e['event']} {e['host'] or ''}".strip() for e in self.seen[begin:])
                what = f"no event {event} {host or ''} within {deadline_s:g} s; came: {came or 'nothing'}"
                raise TrayagentError(what, code="sandbox-broken", hint=error.title) from None
            self.seen.append(found)
            if found["event"] == event and host in (None, found["host"]):
                return found

    def drain(self, quiet_s: float = 0.2) -> list[dict[str, Any]]:
        """Read until no event came for a while; return all events read so far."""
        with contextlib.suppress(TrayagentError):
            while True:
                self.seen.append(self._lines.next(quiet_s))
        return self.seen

    def end(self) -> None:
        """Stop reading."""
        self._child.kill()
        self._child.wait()
        close_streams(self._child)
