"""Report when a master reads data of its user's programs: from a terminal, a pipe or a forwarded connection.

The kernel reports reads of these descriptors through inotify(7), once for each descriptor that is armed. So a quiet
session costs no wake-up, and no other program can cause one. The descriptors are named by /proc/PID/fd.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from trayagent.ssh.os.linux_process import inode_of
from trayagent.ssh.os.linux_transport import own_descriptors, pipes_to_proxy
from trayagent.ssh.os.types import Flow

_IN_ACCESS, _IN_ONESHOT, _IN_IGNORED = 0x1, 0x8000_0000, 0x8000  # linux/inotify.h
_EVENT = struct.Struct("iIII")
_TERMINALS = ("/dev/pts/", "/dev/tty")
_MOST = 256  # descriptors of one master, because a user may have only some thousand watches in all

_libc = ctypes.CDLL(None, use_errno=True)


class ClientInput:
    """Watches masters, each until its next read. `has_read` receives the master's pid, on the thread of `read`.

    Raise OSError without inotify.
    """

    def __init__(self, has_read: Callable[[int], None]) -> None:
        self._has_read = has_read
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._pids: dict[int, int] = {}
        self._armed: dict[int, set[int]] = {}  # by pid, the watches that have not reported yet

    def fileno(self) -> int:
        """Return the descriptor that is readable when a master has read."""
        return int(self._fd)

    def arm(self, pid: int, flow: Flow, ours: AbstractSet[int]) -> None:
        """Watch all descriptors from which this master reads its user's data, and no longer those that it closed.

        A watch that is armed stays. `flow` is the connection that carries the master. `ours` are the inodes of the
        agent's own sockets and pipes.
        """
        before, now = self._armed.get(pid, set()), set[int]()
        for fd in _inputs(pid, flow, ours):
            number = _libc.inotify_add_watch(
                self._fd, f"/proc/{pid}/fd/{fd}".encode(), ctypes.c_uint32(_IN_ACCESS | _IN_ONESHOT)
            )
            if number >= 0:
                self._pids[number] = pid
                now.add(number)
        self._armed[pid] = now
        self._remove(before - now)  # a watch keeps the inode of a closed pipe, so the kernel never removes it

    def disarm(self, pid: int) -> None:
        """Stop watching a master."""
        self._remove(self._armed.pop(pid, set()))

    def _remove(self, numbers: AbstractSet[int]) -> None:
        for number in numbers:  # the kernel confirms each with _IN_IGNORED, after earlier reports
            _libc.inotify_rm_watch(self._fd, number)

    def read(self) -> None:
        """Read the kernel's reports and pass them on."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        at = 0
        found = dict[int, None]()
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            pid = self._pids.get(number)
            if mask & _IN_IGNORED:
                self._pids.pop(number, None)
                self._armed.get(pid or 0, set()).discard(number)
            elif pid is not None:
                found[pid] = None
        for pid in found:
            self._has_read(pid)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


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
