"""Find the processes between a master and its TCP connection: a ProxyJump's `ssh -W`, or a ProxyCommand.

ssh makes two pipes for the proxy before it opens anything else (sshconnect.c, ssh_proxy_connect). It keeps the writing
end of one pipe and, as the next descriptor, the reading end of the other. The writing end is usually descriptor 4, or a
little more if the name service keeps its own connection. The proxy starts with the other ends as its standard input and
output (`ssh -W` moves the output to another descriptor).

This module finds the proxy by these pipes and not by its parent, because a master in the background is no longer the
parent. Both pipes must match, in their directions, because a master also holds the pipes of its sessions, which lead to
the user's programs. The first pipe must be the standard input of the proxy, because a master that carries the proxy
holds both pipes, too.

This user may not be allowed to read the proxy (sudo, file capabilities), or the proxy may have passed the pipes on.
Then ssh has the two pipes, but nothing shows their other ends. Its TCP sockets, such as a connection that it makes for
a remote forward, do not carry it (`is_hidden`).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from trayagent.ssh.command_line import NotUnderstood, parse
from trayagent.ssh.os.linux_process import (
    children_of,
    descendants,
    descriptor,
    descriptors,
    inode_of,
    is_openssh,
    is_readable,
    own_inodes,
    pids_of,
    read,
)
from trayagent.ssh.os.types import Process

_FIRST_OWN_FD = 3  # ssh closes all inherited descriptors when it starts (closefrom)
_PIPE_TO_PROXY_FDS = range(4, 9)
_HELD_AGAIN = 2  # how many times the time that a list of all pipes took
_HELD_VALID_S = 0.2


class Pipes(NamedTuple):
    """The inodes of the pipes that a process writes to (`out`) and reads from (`into`)."""

    out: frozenset[int] = frozenset()
    into: frozenset[int] = frozenset()


def own_descriptors(pid: int) -> dict[int, str]:
    """Return the descriptors that an ssh process opened itself, and their targets, lowest first."""
    return {fd: target for fd, target in descriptors(pid).items() if fd >= _FIRST_OWN_FD}


def proxies(pid: int, own: dict[int, str]) -> list[Process]:
    """Return the proxy processes that an ssh process uses, or [] if ssh has its own socket.

    `own` is the result of `own_descriptors`. There is more than one only if a proxy shares its pipes with a child.
    """
    for ends in _to_proxy(pid, own):
        near = [p for p in descendants(pid) if _is_other_end(p.pid, ends)]
        if near:
            return near
        far = (read(other) for other in pids_of(os.getuid()) if other != pid and _is_other_end(other, ends))
        found = [p for p in far if p is not None]
        if found:
            return found
    return []


def is_hidden(pid: int, own: dict[int, str]) -> bool:
    """Report whether a proxy that this user cannot see may carry an ssh process. Call it if `proxies` found none.

    An ssh that connects itself opens its socket before any pipe. Pipes that it received later belong to its sessions.
    The program of such a session, or the agent, has them as well.
    """
    if not own:
        return not is_readable(pid)
    first = next((target for target in own.values() if target.startswith(("pipe:", "socket:"))), "")
    if first.startswith("pipe:"):
        return True
    return any(not _of_session(ends) for ends in _to_proxy(pid, own))


def is_known(pid: int) -> bool:
    """Report whether this user can read all processes that carry an ssh process."""
    transport = transport_of(pid)
    if not transport:
        return not is_hidden(pid, own_descriptors(pid))
    for one in transport:
        if not is_readable(one.pid) or not all(map(is_readable, children_of(one.pid))):
            return False
        if one.comm == "ssh" and is_openssh(one.pid):
            own = own_descriptors(one.pid)
            if not proxies(one.pid, own) and is_hidden(one.pid, own):
                return False
    return True


def _of_session(ends: Pipes) -> bool:
    """Report whether two pipes of an ssh process belong to sessions on it, or are its own standard streams.

    A program has the same end as its standard input, output or errors. No other process has ssh's end of a pipe to a
    proxy there. The agent passes pipes to its own sessions, and keeps the other ends.
    """
    if own_inodes() & (ends.out | ends.into):
        return True
    for pid in pids_of(os.getuid()):
        standard = {fd: descriptor(pid, fd) for fd in range(_FIRST_OWN_FD)}
        if any(inode_of(target, "pipe") in ends.out | ends.into for target in standard.values()):
            held = _pipes(pid, standard)
            if held.out & ends.out or held.into & ends.into:
                return True
    return False


def transport_of(pid: int) -> list[Process]:
    """Return all processes that may carry a master's bytes.

    Some of them may have other work, too. `carriers` finds those that may end with the master.
    """
    found: dict[int, Process] = {}
    for proxy in proxies(pid, own_descriptors(pid)):
        for one in (*with_descendants(proxy), *transport_of(proxy.pid)):
            found.setdefault(one.pid, one)
    return list(found.values())


def with_descendants(proxy: Process) -> list[Process]:
    """Return a proxy and its descendants that may carry the same bytes, the nearest first.

    A script may start an ssh for another host beside its own work. That ssh and its descendants are left out.
    """
    shared = {inode for _, inode in _pipe_inodes(descriptors(proxy.pid).items())}
    found = [proxy]
    for one in found:
        children = map(read, children_of(one.pid))
        found += [child for child in children if child is not None and not _is_separate(child, shared)]
    return found


def _is_separate(process: Process, shared: set[int]) -> bool:
    """Report whether a process is an ssh that surely reads nothing from a proxy. `shared` are the proxy's pipes.

    It has no session, or no standard input. A master may have received the pipes from a client, though.
    """
    if process.comm != "ssh" or not is_openssh(process.pid):
        return False
    fds = descriptors(process.pid)
    if not fds or any(inode in shared for fd, inode in _pipe_inodes(fds.items()) if fd >= _FIRST_OWN_FD):
        return False
    if fds.get(0, "").startswith("/dev/null"):
        return True
    try:
        flags = parse(process.argv).flags
    except NotUnderstood:
        return False
    return "N" in flags and "W" not in flags


def pipes_to_proxy(pid: int, own: dict[int, str]) -> frozenset[int]:
    """Return the inodes of the two pipes to a master's proxy. `own` is the result of `own_descriptors`."""
    ends = next(_to_proxy(pid, own), None)
    return ends.out | ends.into if ends is not None else frozenset()


def _to_proxy(pid: int, own: dict[int, str]) -> Iterator[Pipes]:
    """Yield each pair of pipes that may lead to a proxy, the likeliest first."""
    ends = _pipes(pid, own)
    for fd in _PIPE_TO_PROXY_FDS:
        to, back = inode_of(own.get(fd, ""), "pipe"), inode_of(own.get(fd + 1, ""), "pipe")
        if to in ends.out and back in ends.into:
            yield Pipes(frozenset({to}), frozenset({back}))


def pipe_ends(pid: int) -> Pipes:
    """Return the pipes that a process writes to and reads from."""
    return _pipes(pid, descriptors(pid))


def pipe_holders(pipes: AbstractSet[int]) -> set[int]:
    """Return the pids of all processes that hold an end of these pipes and that this user may read.

    All are searched: a process may pass a pipe to another one, which may be older. A list of all pipes takes long where
    many programs run, so it is used again for some time.
    """
    if time.monotonic() > _held.until or not pipes <= _held.by_inode.keys():
        began = time.monotonic()
        by_inode: dict[int, set[int]] = {}
        uid = os.getuid()
        for pid in pids_of(uid or None):
            for _, inode in _pipe_inodes(descriptors(pid).items()):
                by_inode.setdefault(inode, set()).add(pid)
        _held.by_inode, took_s = by_inode, time.monotonic() - began
        _held.until = time.monotonic() + min(_HELD_VALID_S, _HELD_AGAIN * took_s)
    return {pid for inode in pipes for pid in _held.by_inode.get(inode, ())}


class _Held:
    """The pids of the processes that hold each pipe, and until when the list may be used again."""

    def __init__(self) -> None:
        self.by_inode: dict[int, set[int]] = {}
        self.until = 0.0


_held = _Held()


def _is_other_end(pid: int, ends: Pipes) -> bool:
    try:
        # This cheap check runs for every process of the user. Few processes pass the check and need the full check.
        first = os.readlink(f"/proc/{pid}/fd/0")  # noqa: PTH115 - see `linux_process`
    except OSError:
        return False
    if inode_of(first, "pipe") not in ends.out:
        return False
    held = pipe_ends(pid)
    return bool(held.into & ends.out and held.out & ends.into)


def _pipes(pid: int, fds: dict[int, str]) -> Pipes:
    out, into = set[int](), set[int]()
    for fd, inode in _pipe_inodes(fds.items()):
        try:
            # The mode of the link in /proc shows the direction of the pipe.
            mode = os.lstat(f"/proc/{pid}/fd/{fd}").st_mode
        except OSError:
            continue
        if mode & stat.S_IWUSR:
            out.add(inode)
        if mode & stat.S_IRUSR:
            into.add(inode)
    return Pipes(frozenset(out), frozenset(into))


def _pipe_inodes(fds: Iterable[tuple[int, str]]) -> list[tuple[int, int]]:
    return [(fd, inode) for fd, target in fds if (inode := inode_of(target, "pipe"))]
