"""Processes as ps(1) tells them, their end by kqueue(2), and ending them by pid.

There is no handle of a process as Linux has: between the look at its start time and the signal a pid could
in principle change hands. macOS hands pids out in turn, and the two are milliseconds apart.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection

from trayagent.ssh.os import macos_ps
from trayagent.ssh.os.types import KillResult, Process


def read(pid: int) -> Process | None:
    """Return a living process, None when it is gone or only waits to be reaped."""
    return macos_ps.of(pid)


def age_s(process: Process) -> float:
    """Return how long ago a process started, in seconds, suspended time included."""
    return time.time() - process.start_ticks


def alive(pid: int, start_ticks: int) -> bool:
    """Report whether this very process runs still; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)  # most questions end here, and cost no ps
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = read(pid)
    return found is not None and found.start_ticks == start_ticks


def ssh_processes(uid: int, names: Collection[str] = ("ssh",)) -> list[Process]:
    """Return the ssh clients of a user, masters and others; `names` are the programs' names."""
    return [p for p in macos_ps.table().values() if p.uid == uid and p.comm in names]


def descendants(pid: int) -> list[Process]:
    """Return the children of a process and theirs, the nearest first."""
    return macos_ps.below(pid, macos_ps.table().values())


def kill_checked(pid: int, start_ticks: int, comm_names: Collection[str], sig: signal.Signals) -> KillResult:
    """Signal a process if it is still the one that was meant, and ours.

    "gone" when it ended before, "other" when the pid means another process by now, or one of another user.
    """
    found = read(pid)
    if found is None:
        return "gone"
    if (found.start_ticks, found.uid) != (start_ticks, os.getuid()) or found.comm not in comm_names:
        return "other"
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "other"
    return "sent"


class PidWatch:
    """Calls back once, in the running loop, when a process ends; also when it has ended already.

    It need not be a child. Nothing wakes up before. Source: kqueue(2), EVFILT_PROC, NOTE_EXIT.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._soon: asyncio.Handle | None = None
        if sys.platform == "darwin":
            self._queue: select.kqueue | None = select.kqueue()
            exit_of = select.kevent(
                pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
            )
            try:
                self._queue.control([exit_of], 0)
            except ProcessLookupError:
                self._queue.close()
                self._queue = None
                self._soon = self._loop.call_soon(on_exit)
                return
            # A queue is readable while an event waits in it, so it can stand in the loop's own.
            self._loop.add_reader(self._queue.fileno(), self._ended)

    def close(self) -> None:
        """Stop watching; no callback comes after this."""
        if self._soon is not None:
            self._soon.cancel()
        if sys.platform == "darwin" and self._queue is not None:
            self._loop.remove_reader(self._queue.fileno())
            self._queue.close()
            self._queue = None

    def _ended(self) -> None:
        self.close()
        self._on_exit()
