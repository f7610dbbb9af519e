"""Find the control paths that a user's masters listen on, and the processes that own them.

A master binds `ControlPath.<16 random>`, links it to ControlPath and unlinks the first name (mux.c, muxserver_listen).
The kernel reports this first name forever. It also reports the inode of the file, which a rename does not change. The
listening process is found through /proc/PID/fd, because the socket's peer credentials are those of the process that
called listen(). For a master in the background, that is a parent which ended long ago.

Reading every process takes 10 ms with a hundred masters, and a recovery of a hundred hosts searches for an owner
hundreds of times. So this module remembers the process and the descriptor of each socket. Before each use, it reads
that descriptor again.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

from msgspec import Struct

from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.unix_diag import ESTABLISHED, LISTEN, UnixSocket, unix_sockets
from trayagent.ssh.new_control_path import home_of
from trayagent.ssh.os.linux_process import (
    children_of,
    comm_of,
    descriptor,
    descriptors,
    inode_of,
    pids_of,
    read,
    socket_inodes,
    ssh_pids,
)
from trayagent.ssh.os.types import ControlSocket

_BIND_NAME = re.compile(r"(.+)\.[0-9A-Za-z]{16}", re.DOTALL)
_INODE_MASK = 0xFFFFFFFF  # the kernel reports only 32 bits of the file's inode
# While a master goes to the background, two processes hold its socket for some milliseconds, and the older one ends. So
# the agent trusts a process that it found for only this many seconds. Then it searches again, and takes the younger
# process if both still hold the socket.
_TRUSTED_S = 1.0


class _Found(Struct, frozen=True):
    """Where a socket was found: the process, its descriptor, and the time of that search."""

    pid: int
    fd: int
    searched_at: float

    def holds(self, inode: int, now: float) -> bool:
        """Report whether the descriptor still refers to the socket `inode`, unless the last search is too long ago."""
        trusted = now - self.searched_at < _TRUSTED_S
        return trusted and inode_of(descriptor(self.pid, self.fd)) == inode


_found: dict[int, _Found] = {}
"""The last known holder of each control socket, by the socket's inode."""


def listening(uid: int) -> list[ControlSocket]:
    """Return the control sockets on which processes of a user listen. Raise NetlinkError.

    Each of these processes bound its socket as a master does, but its program need not be ssh.
    """
    candidates = {s.inode: s for s in _listeners() if is_bind_name(s.name)}
    if not candidates:
        return []
    owners = _owners(uid, ssh_pids(uid), candidates.keys(), candidates)
    others = {i for i, s in candidates.items() if i not in owners and _is_file_of(uid, s)}
    if others:  # the program of a master may have another name than ssh
        owners |= _owners(uid, pids_of(uid), others, candidates)
    return [_control_socket(candidates[inode], pid) for inode, pid in owners.items()]


def owner_of(path: str, *, likely: int | None = None) -> int | None:
    """Return the pid of the process of this user that listens on the file at `path` now, or None.

    The program need not be ssh, and may have bound its socket at another path. Return None for a file of another user
    and for a symbolic link, because in a directory like /tmp, anyone can create a link to a socket of this user. The
    process `likely` is checked first. If it is the owner, the search takes a tenth of the time. Raise NetlinkError.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        return None
    listeners = _listeners()
    wanted = {s.inode: s for s in listeners if s.file_inode == found.st_ino & _INODE_MASK}
    if len(wanted) > 1:  # files on two file systems may have the same inode number
        folder = os.path.realpath(os.path.dirname(path))  # noqa: PTH120 - see `linux_process`
        here = {i: s for i, s in wanted.items() if os.path.realpath(home_of(s.name)) == folder}
        wanted = here or wanted
    if not wanted:
        return None
    if likely is not None and socket_inodes(likely) & wanted.keys():
        return likely
    uid = os.getuid()
    by_ssh = _owners(uid, ssh_pids(uid), wanted.keys(), (s.inode for s in listeners))
    if by_ssh:
        return next(iter(by_ssh.values()))
    return next((pid for pid in pids_of(uid) if socket_inodes(pid) & wanted.keys()), None)


def bound_by_master(path: str) -> bool:
    """Report whether the process that listens on the file at `path` bound the socket as a master does.

    Raise NetlinkError.
    """
    try:
        inode = os.stat(path).st_ino & _INODE_MASK  # noqa: PTH116 - see `linux_process`
    except OSError:
        return False
    return any(s.file_inode == inode and is_bind_name(s.name) for s in _listeners())


def clients_of(path: str) -> int | None:
    """Return how many control connections other processes have to the master at `path`, or None if unknown.

    The socket of an accepted connection has the same name and file as the listening socket.
    """
    try:
        inode = os.stat(path).st_ino & _INODE_MASK  # noqa: PTH116 - see `linux_process`
        with Channel(NETLINK_SOCK_DIAG) as channel:
            found = unix_sockets(channel, ESTABLISHED)
    except (OSError, NetlinkError):
        return None
    peers = {s.peer for s in found if s.file_inode == inode and is_bind_name(s.name)}
    return len(peers - socket_inodes(os.getpid()))


def is_bind_name(name: str) -> bool:
    """Report whether a name has the form to which a master binds its socket."""
    return _BIND_NAME.fullmatch(name) is not None


def _is_file_of(uid: int, found: UnixSocket) -> bool:
    path = _where(found.name[: -len(".") - 16], found.file_inode)
    try:
        return path is not None and os.stat(path).st_uid == uid  # noqa: PTH116 - see `linux_process`
    except OSError:
        return False


def _listeners() -> list[UnixSocket]:
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = unix_sockets(channel, LISTEN, peers=False)
    return [s for s in found if s.kind == socket.SOCK_STREAM and not s.name.startswith("@")]


def _owners(
    uid: int, pids: Iterable[int], wanted: AbstractSet[int], listeners: Iterable[int]
) -> dict[int, int]:
    """Return the pid of the process that holds each of the wanted sockets, by inode.

    The processes `pids` are searched only if the remembered ones do not suffice. `listeners` are the inodes of all
    listening sockets. If two processes hold a socket (during a fork), the younger one is the master.
    """
    now = time.monotonic()
    if uid != os.getuid():
        return {inode: one.pid for inode, one in _held_by(pids, now).items() if inode in wanted}
    known = {
        inode: one for inode in wanted if (one := _found.get(inode)) is not None and one.holds(inode, now)
    }
    if len(known) < len(wanted):
        known |= _held_by(_new_children(listeners), now)
    if not wanted <= known.keys():
        _found.clear()
        known = _held_by(pids, now)
    _found.update(known)
    return {inode: one.pid for inode, one in known.items() if inode in wanted}


def _new_children(listeners: Iterable[int]) -> list[int]:
    """Return the agent's children that are not known to hold any of these sockets. Most new masters are among them."""
    old = {one.pid for inode in listeners if (one := _found.get(inode)) is not None}
    return [pid for pid in children_of(os.getpid()) if pid not in old and comm_of(pid) == "ssh"]


def _held_by(pids: Iterable[int], now: float) -> dict[int, _Found]:
    """Return the descriptors of these processes by socket inode.

    If two processes hold a socket, return the descriptor of the younger one.
    """
    found: dict[int, _Found] = {}
    for pid in pids:
        for fd, target in descriptors(pid).items():
            inode = inode_of(target)
            if inode and (inode not in found or _younger(found[inode].pid, pid) == pid):
                found[inode] = _Found(pid, fd, now)
    return found


def _younger(one: int, other: int) -> int:
    if one == other:
        return one
    found = [process for process in (read(one), read(other)) if process is not None]
    return max(found, key=lambda p: (p.start_ticks, p.pid)).pid if found else other


def _control_socket(found: UnixSocket, pid: int) -> ControlSocket:
    name = found.name if found.name.startswith("/") else _from_folder_of(pid, found.name)
    stem = name[: -len(".") - 16]
    path = _where(stem, found.file_inode)
    return ControlSocket(name, stem, path or stem, found.inode, pid, present=path is not None)


def _from_folder_of(pid: int, name: str) -> str:
    """Return a relative ControlPath as an absolute path. A master stays in the directory where it was started."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink() / name)
    except OSError:
        return name


def _where(stem: str, file_inode: int) -> str | None:
    """Return the path of the socket's file: its original name, or its new name in the same directory."""
    try:
        if os.stat(stem).st_ino & _INODE_MASK == file_inode:  # noqa: PTH116 - see `linux_process`
            return stem
    except OSError:
        pass
    try:
        with os.scandir(home_of(stem)) as entries:
            for entry in entries:
                if entry.inode() & _INODE_MASK == file_inode and stat.S_ISSOCK(entry.stat().st_mode):
                    return entry.path
    except OSError:
        pass
    return None
