"""Find the processes between a master and its TCP connection: a ProxyJump's `ssh -W`, or a ProxyCommand.

ssh makes two pipes for the proxy before it opens anything else (sshconnect.c, ssh_proxy_connect). It keeps the writing
end of one pipe and, as the next descriptor, the reading end of the other. The writing end is usually descriptor 4, or a
little more if the name service keeps its own connection. The proxy starts with the other ends as its standard input and
output (`ssh -W` moves the output to another descriptor).

This module finds the proxy by these pipes and not by its parent, because a master in the background is no longer the
parent. Both pipes must match, in their directions, because a master also holds the pipes of its sessions, which lead to
the user's programs. The first pipe must be the standard input of the proxy, because a master that carries the proxy
holds both pipes, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from trayagent.ssh.os.linux_process import descendants, descriptors, inode_of, pids_of, read
from trayagent.ssh.os.types import Process

_FIRST_OWN_FD = 3  # ssh closes all inherited descriptors when it starts (closefrom)
_PIPE_TO_PROXY_FDS = range(4, 9)


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
    ends = _to_proxy(pid, own)
    if ends is None:
        return []
    near = [p for p in descendants(pid) if _is_other_end(p.pid, ends)]
    if near:
        return near
    far = (read(other) for other in pids_of(os.getuid()) if other != pid and _is_other_end(other, ends))
    return [p for p in far if p is not None]


def transport_of(pid: int) -> list[Process]:
    """Return all processes that exist only to carry a master's bytes; never another master.

    A killed master leaves them behind. If the network swallows every packet, they wait forever.
    """
    found: dict[int, Process] = {}
    for proxy in proxies(pid, own_descriptors(pid)):
        for one in (proxy, *descendants(proxy.pid), *transport_of(proxy.pid)):
            found.setdefault(one.pid, one)
    return list(found.values())


def pipes_to_proxy(pid: int, own: dict[int, str]) -> frozenset[int]:
    """Return the inodes of the two pipes to a master's proxy. `own` is the result of `own_descriptors`."""
    ends = _to_proxy(pid, own)
    return ends.out | ends.into if ends is not None else frozenset()


def _to_proxy(pid: int, own: dict[int, str]) -> Pipes | None:
    ends = _pipes(pid, own)
    for fd in _PIPE_TO_PROXY_FDS:
        to, back = inode_of(own.get(fd, ""), "pipe"), inode_of(own.get(fd + 1, ""), "pipe")
        if to in ends.out and back in ends.into:
            return Pipes(frozenset({to}), frozenset({back}))
    return None


def _is_other_end(pid: int, ends: Pipes) -> bool:
    try:
        # This cheap check runs for every process of the user. Few processes pass the check and need the full check.
        first = os.readlink(f"/proc/{pid}/fd/0")  # noqa: PTH115 - see `linux_process`
    except OSError:
        return False
    if inode_of(first, "pipe") not in ends.out:
        return False
    held = _pipes(pid, descriptors(pid))
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
