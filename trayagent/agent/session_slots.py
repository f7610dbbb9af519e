"""Leaves a server's last sessions to the user: ends the sentinel of a master with many sessions or a refused one.

A server limits the sessions on one connection (MaxSessions, 10 by default) and does not report the limit. ssh logs each
request for a session (LogVerbose), so the log of a master changes exactly when the number of sessions may matter.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from trayagent.agent.masters.keep_sentinels import SESSIONS_MOST, sessions_of
from trayagent.agent.parts import Parts
from trayagent.core.facts.masters import Master

log = logging.getLogger(__name__)

_ANSWERED = b"mux_session_confirm()"
_REFUSED = b"sending failure reply"
_LAST_LINE = 512  # read this many bytes for the last line; the lines of interest have fewer than 100


class Sentinels(Protocol):
    """The agent's own sessions on masters."""

    def master(self, pid: int) -> tuple[str, Master] | None:
        """Return the host and the master if the agent has a session there."""

    def give_way(self, pid: int) -> None:
        """End the session, and open no other session on this master."""


class SessionSlots:
    """Reads the logs of the masters that have a sentinel."""

    def __init__(self, parts: Parts, sentinels: Sentinels) -> None:
        self._records = parts.records
        self._sentinels = sentinels
        self._read_to: dict[int, int] = {}

    def log_changed(self, pid: int, path: Path) -> None:
        """React to new lines in a master's log."""
        found = self._sentinels.master(pid)
        if found is None:
            return
        host, master = found
        new = self._new_lines(master.pid, path)
        if _ANSWERED not in new:
            return
        sessions = sessions_of(master.pid)
        refused = _REFUSED in new
        if not refused and sessions < SESSIONS_MOST:
            return
        log.info("%s: the agent leaves its session on pid %d to the user", host, master.pid)
        if refused and sessions < SESSIONS_MOST:
            self._records.set_few_sessions(host)
        self._sentinels.give_way(master.pid)

    def _new_lines(self, pid: int, path: Path) -> bytes:
        """Return the lines since the last call. At the first call, return only the last line.

        A log that was shortened is read from its beginning.
        """
        self._read_to = {other: at for other, at in self._read_to.items() if self._sentinels.master(other)}
        begin = self._read_to.get(pid)
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                first = max(0, size - _LAST_LINE) if begin is None else begin
                file.seek(first if first <= size else 0)
                new = file.read()
                self._read_to[pid] = file.tell()
        except OSError:
            return b""
        return new if begin is not None else new.rstrip().rpartition(b"\n")[2]
