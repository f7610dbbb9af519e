"""Report when a master reads data of its user's programs: from a terminal, a pipe or a forwarded connection.

The kernel reports reads of these descriptors through inotify(7), once for each descriptor that is armed. So a quiet
session costs no wake-up, and no other program can cause one. The descriptors are named by /proc/PID/fd.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from trayagent.ssh.os.linux_inotify import IN_ACCESS, IN_IGNORED, IN_ONESHOT, Inotify
from trayagent.ssh.os.linux_process import inode_of
from trayagent.ssh.os.linux_transport import own_descriptors, pipes_to_proxy
from trayagent.ssh.os.types import Flow

_TERMINALS = ("/dev/pts/", "/dev/tty")
_MOST = 256  # descriptors of one master, because a user may have only some thousand watches in all


class ClientInput:
    """Watches masters, each until its next read. `has_read` receives the master's pid, on the thread of `read`.

    Raise OSError without inotify.
    """

    def __init__(self, has_read: Callable[[int], None]) -> None:
        self._has_read = has_read
        self._inotify = Inotify()
        self._pids: dict[int, int] = {}
        self._armed: dict[int, set[int]] = {}  # by pid, the watches that have not reported yet

    def fileno(self) -> int:
        """Return the descriptor that is readable when a master has read."""
        return self._inotify.fileno()

    def arm(self, pid: int, flow: Flow, ours: AbstractSet[int]) -> None:
        """Watch all descriptors from which this master reads its user's data, and no longer those that it closed.

        A watch that is armed stays. `flow` is the connection that carries the master. `ours` are the inodes of the
        agent's own sockets and pipes.
        """
        before, now = self._armed.get(pid, set()), set[int]()
        for fd in _inputs(pid, flow, ours):
            with contextlib.suppress(OSError):  # the descriptor is closed, or no watch is left
                number = self._inotify.watch(f"/proc/{pid}/fd/{fd}".encode(), IN_ACCESS | IN_ONESHOT)
                self._pids[number] = pid
                now.add(number)
        self._armed[pid] = now
        self._remove(before - now)  # a watch keeps the inode of a closed pipe, so the kernel never removes it

    def disarm(self, pid: int) -> None:
        """Stop watching a master."""
        self._remove(self._armed.pop(pid, set()))

    def _remove(self, numbers: AbstractSet[int]) -> None:
        for number in numbers:  # the kernel confirms each with _IN_IGNORED, after earlier reports
            self._inotify.unwatch(number)

    def read(self) -> None:
        """Read the kernel's reports and pass them on."""
        found = dict[int, None]()
        for event in self._inotify.read():
            pid = self._pids.get(event.watch)
            if event.mask & IN_IGNORED:
                self._pids.pop(event.watch, None)
                self._armed.get(pid or 0, set()).discard(event.watch)
            elif pid is not None:
                found[pid] = None
        for pid in found:
            self._has_read(pid)

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()


def _inputs(pid: int, flow: Flow, ours: AbstractSet[int]) -> list[int]:
    """Return the descriptors of a master for its user's data, without the agent's own sessions, at most _MOST."""
    own = own_descriptors(pid)
    proxy = frozenset[int]() if flow.via == "direct" else pipes_to_proxy(pid, own)
    others = {flow.inode, *proxy, *ours}
    found = dict[str, int]()
    for fd, target in own.items():
        inode = _inode(target)
        if (inode and inode not in others) or target.startswith(_TERMINALS):
            found.setdefault(target, fd)
    return list(found.values())[:_MOST]


def _inode(target: str) -> int:
    return inode_of(target) or inode_of(target, "pipe")
