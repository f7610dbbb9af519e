"""Find the control paths that a user's masters listen on, and the processes that own them.

A master binds `ControlPath.<16 random>`, links it to ControlPath and unlinks the first name (mux.c, muxserver_listen).
The kernel reports this first name forever. It also reports the inode of the file, which a rename does not change. The
listening process is found through /proc/PID/fd, because the socket's peer credentials are those of the process that
called listen(). For a master in the background, that is a parent which ended long ago.

Reading every process takes 10 ms with a hundred masters, and a recovery of a hundred hosts searches for an owner
hundreds of times. So this module remembers the socket of each file, and the process and the descriptor of each socket.
Before each use, it asks the kernel about that socket and reads that descriptor again.
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
from trayagent.netlink.unix_diag import ESTABLISHED, LISTEN, UnixSocket, unix_socket, unix_sockets
from trayagent.ssh.new_control_path import home_of
from trayagent.ssh.os.linux_process import (
    children_of,
    comm_of,
    descriptor,
    descriptors,
    inode_of,
    own_inodes,
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
# process if both still hold the socket. A child of the agent stays in the foreground.
_TRUSTED_S = 1.0
_MOST_KNOWN = 4000  # then forget all; a thousand masters have fewer files and sockets


class _Found(Struct, frozen=True):
    """Where a socket was found: the process, its descriptor, the time of that search, and whether it is our child."""

    pid: int
    fd: int
    searched_at: float
    child: bool = False

    def holds(self, inode: int, now: float) -> bool:
        """Report whether the descriptor still refers to the socket `inode`, unless the last search is too long ago."""
        trusted = self.child or now - self.searched_at < _TRUSTED_S
        return trusted and inode_of(descriptor(self.pid, self.fd)) == inode


_found: dict[int, _Found] = {}
"""The last known holder of each control socket, by the socket's inode."""
_sockets: dict[tuple[int, int], int] = {}
"""The inode of the socket that listens on a file, by the file's device and inode."""
_listening: set[int] = set()
"""The inodes of the listening sockets whose holders were searched for."""
_moved: dict[str, str] = {}
"""Where the file of a socket was found, by its first name without the suffix, if it was renamed."""


def listening(uid: int) -> list[ControlSocket]:
    """Return the control sockets on which processes of a user listen. Raise NetlinkError.

    Each of these processes bound its socket as a master does, but its program need not be ssh.
    """
    candidates = {s.inode: s for s in _listeners() if is_bind_name(s.name)}
    if not candidates:
        return []
    owners = _owners(uid, ssh_pids(uid), candidates.keys())
    others = {i for i, s in candidates.items() if i not in owners and _is_file_of(uid, s)}
    if others:  # the program of a master may have another name than ssh
        owners |= _owners(uid, pids_of(uid), others)
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
    wanted = _listening_on(path, found)
    if not wanted:
        return None
    now = time.monotonic()
    for inode in wanted:
        known = _found.get(inode)
        if known is not None and known.holds(inode, now):
            return known.pid
    if likely is not None and socket_inodes(likely) & wanted:
        return likely
    uid = os.getuid()
    by_ssh = _owners(uid, ssh_pids(uid), wanted)
    if by_ssh:
        return next(iter(by_ssh.values()))
    return next((pid for pid in pids_of(uid) if socket_inodes(pid) & wanted), None)


def _listening_on(path: str, found: os.stat_result) -> set[int]:
    """Return the inodes of the sockets that listen on the file at `path`. `found` is the file's status."""
    file, inode = (found.st_dev, found.st_ino), found.st_ino & _INODE_MASK
    known = _sockets.get(file)
    if known is not None:
        with Channel(NETLINK_SOCK_DIAG) as channel:
            one = unix_socket(channel, known)
        if one is not None and (one.state, one.kind, one.file_inode) == (LISTEN, socket.SOCK_STREAM, inode):
            return {known}
        del _sockets[file]
    wanted = {s.inode: s for s in _listeners(inode) if s.file_inode == inode}
    if len(wanted) > 1:  # files on two file systems may have the same inode number
        folder = os.path.realpath(os.path.dirname(path))  # noqa: PTH120 - see `linux_process`
        here = {i: s for i, s in wanted.items() if os.path.realpath(home_of(s.name)) == folder}
        wanted = here or wanted
    if len(wanted) == 1:
        if len(_sockets) > _MOST_KNOWN:
            _sockets.clear()
        _sockets[file] = next(iter(wanted))
    return set(wanted)


def bound_by_master(path: str) -> bool:
    """Report whether the process that listens on the file at `path` bound the socket as a master does.

    Raise NetlinkError.
    """
    try:
        inode = os.stat(path).st_ino & _INODE_MASK  # noqa: PTH116 - see `linux_process`
    except OSError:
        return False
    return any(s.file_inode == inode and is_bind_name(s.name) for s in _listeners(inode))


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
    return len(peers - own_inodes())


def is_bind_name(name: str) -> bool:
    """Report whether a name has the form to which a master binds its socket."""
    return _BIND_NAME.fullmatch(name) is not None


def _is_file_of(uid: int, found: UnixSocket) -> bool:
    path = _where(found.name[: -len(".") - 16], found.file_inode)
    try:
        return path is not None and os.stat(path).st_uid == uid  # noqa: PTH116 - see `linux_process`
    except OSError:
        return False


def _listeners(file_inode: int | None = None) -> list[UnixSocket]:
    """Return the listening sockets with a file. With `file_inode`, return at least those on this file."""
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = unix_sockets(channel, LISTEN, peers=False, file_inode=file_inode)
    return [s for s in found if s.kind == socket.SOCK_STREAM and not s.name.startswith("@")]


def _owners(uid: int, pids: Iterable[int], wanted: AbstractSet[int]) -> dict[int, int]:
    """Return the pid of the process that holds each of the wanted sockets, by inode.

    The processes `pids` are searched only if the remembered ones and the agent's new children do not suffice. If two
    processes hold a socket (during a fork), the younger one is the master.
    """
    now = time.monotonic()
    if uid != os.getuid():
        return {inode: one.pid for inode, one in _held_by(pids, now).items() if inode in wanted}
    known = {
        inode: one for inode in wanted if (one := _found.get(inode)) is not None and one.holds(inode, now)
    }
    if len(known) < len(wanted):
        children = {*children_of(os.getpid())}
        known |= _held_by(_new(children), now, children)
        if not wanted <= known.keys():
            _found.clear()
            known = _held_by(pids, now, children)
    if len(_found) > _MOST_KNOWN:
        _found.clear()
        _listening.clear()
    _found.update(known)
    _listening.update(wanted)
    return {inode: one.pid for inode, one in known.items() if inode in wanted}


def _new(children: AbstractSet[int]) -> list[int]:
    """Return those children that are ssh and not known to listen. Most new masters are among them."""
    old = {one.pid for inode in _listening if (one := _found.get(inode)) is not None}
    return [pid for pid in children if pid not in old and comm_of(pid) == "ssh"]


def _held_by(pids: Iterable[int], now: float, children: AbstractSet[int] = frozenset()) -> dict[int, _Found]:
    """Return the descriptors of these processes by socket inode. `children` are the agent's own processes.

    If two processes hold a socket, return the descriptor of the younger one.
    """
    found: dict[int, _Found] = {}
    for pid in pids:
        for fd, target in descriptors(pid).items():
            inode = inode_of(target)
            if inode and (inode not in found or _younger(found[inode].pid, pid) == pid):
                found[inode] = _Found(pid, fd, now, pid in children)
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
    for path in (stem, _moved.get(stem, stem)):
        try:
            if os.stat(path).st_ino & _INODE_MASK == file_inode:  # noqa: PTH116 - see `linux_process`
                return path
        except OSError:
            pass
    try:
        with os.scandir(home_of(stem)) as entries:
            for entry in entries:
                if entry.inode() & _INODE_MASK == file_inode and stat.S_ISSOCK(entry.stat().st_mode):
                    if len(_moved) > _MOST_KNOWN:
                        _moved.clear()
                    _moved[stem] = entry.path
                    return entry.path
    except OSError:
        pass
    return None
