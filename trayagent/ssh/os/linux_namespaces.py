"""Detect processes in another mount or network namespace, as in a container or after `ip netns exec`.

The paths, addresses and routes of such a master are not those that the agent sees, so the agent cannot judge
it. The kernel lists Unix sockets separately for each network namespace. So sock_diag(7) does not show the
master's listener, but connect(2) reaches it through the file system. Source: namespaces(7), proc(5).
"""

from __future__ import annotations

import os
from pathlib import Path

from trayagent.ssh.os.linux_process import socket_inodes, ssh_pids

_KINDS = ("mnt", "net")
_LISTENS = 0x10000  # __SO_ACCEPTCON in the column Flags of /proc/net/unix


def in_other_namespace(pid: int) -> bool:
    """Report whether a process is in another mount or network namespace; True if it cannot be read."""
    return any(_namespace(pid, kind) != _namespace(os.getpid(), kind) for kind in _KINDS)


def owner_elsewhere(path: str) -> int | None:
    """Return the pid of this user's ssh in another network namespace that listens at `path`, or None.

    The search compares the name that the listener bound, not the file. So the search misses a renamed socket.
    """
    for pid in ssh_pids(os.getuid()):
        if _namespace(pid, "net") not in {None, _namespace(os.getpid(), "net")} and _listens(pid, path):
            return pid
    return None


def _listens(pid: int, path: str) -> bool:
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return False
    bound = set[int]()
    for line in lines:
        words = line.split(maxsplit=7)
        # A master binds `ControlPath.<16 random>` and links it to ControlPath.
        if len(words) == 8 and int(words[3], 16) & _LISTENS and words[7][:-17] == path:
            bound.add(int(words[6]))
    return bool(bound & socket_inodes(pid))


def _namespace(pid: int, kind: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115  # called for many processes
    except OSError:
        return None
