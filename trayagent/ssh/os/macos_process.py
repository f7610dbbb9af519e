"""Read processes from ps(1), signal them by pid, and watch for their end with kqueue(2).

macOS has no handle of a process such as Linux's pidfd. So in theory, macOS could reuse a pid between the check of the
start time and the signal. But it assigns pids in turn, and only milliseconds pass between check and signal.
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
    """Return a running process, or None if the process is gone or a zombie."""
    return macos_ps.of(pid)


def age_s(process: Process) -> float:
    """Return the age of a process in seconds, including the time for which the machine was suspended."""
    return time.time() - process.start_ticks


def alive(pid: int, start_ticks: int) -> bool:
    """Report whether the process with this pid and start time still runs; False for a zombie."""
    try:
        os.kill(pid, 0)  # most calls end here, without running ps
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = read(pid)
    return found is not None and found.start_ticks == start_ticks


def ssh_processes(uid: int, names: Collection[str] = ("ssh",), *, but: Collection[int] = ()) -> list[Process]:
    """Return the ssh clients of a user, except the processes `but`; `names` are the accepted program names."""
    table = macos_ps.table().values()
    return [p for p in table if p.uid == uid and p.comm in names and p.pid not in but]


def descendants(pid: int) -> list[Process]:
    """Return all descendants of a process, the nearest first."""
    return macos_ps.below(pid, macos_ps.table().values())


def kill_checked(
    pid: int, start_ticks: int, comm_names: Collection[str] | None, sig: signal.Signals
) -> KillResult:
    """Send a signal if the pid still belongs to the given process and to this user.

    `comm_names` are the names that its program may have, None for any name. They matter because a process keeps its pid
    and start time when it becomes another program.

    Return "sent", "gone" if the process has ended, or "other" if the pid now belongs to another process or user.
    """
    found = read(pid)
    if found is None:
        return "gone"
    if (found.start_ticks, found.uid) != (start_ticks, os.getuid()):
        return "other"
    if comm_names is not None and found.comm not in comm_names:
        return "other"
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "other"
    return "sent"


class PidWatch:
    """Calls back once, in the running loop, when a process ends. If it has already ended, calls back soon.

    The process need not be a child. Until its end, the watch causes no wake-up. Source: kqueue(2), EVFILT_PROC,
    NOTE_EXIT.
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
            # A kqueue is readable while an event waits in the queue, so the loop can watch a kqueue like a socket.
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
