"""Find out whether a process outside of its transport may carry an ssh, on Linux only.

A ProxyCommand may pass its data to a daemon, such as that of a VPN, through a Unix socket or a named pipe. This user
may not be allowed to read a process of the transport. Then no TCP connection shows whether the ssh still works.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from trayagent.ssh.os.carriers import PROGRAMS
from trayagent.ssh.os.tcp_connection import flow_of, transport_of
from trayagent.ssh.os.types import Process

if sys.platform == "darwin":

    def leads_to_others(processes: Collection[Process], *users: int) -> bool:
        """Return True, because this is unknown on macOS."""
        del processes, users
        return True

    def may_be_elsewhere(pid: int, carrier: int | None = None) -> bool:
        """Return False, because this is unknown on macOS."""
        del pid, carrier
        return False

    def program_of(pid: int) -> str:
        """Return "", because nothing uses it on macOS."""
        del pid
        return ""

    def is_ssh(process: Process) -> bool:
        """Report whether a process has the name of ssh."""
        return process.comm == "ssh"
else:
    import stat

    from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
    from trayagent.netlink.unix_diag import unix_socket
    from trayagent.ssh.os.linux_process import (
        descriptors,
        inode_of,
        is_openssh,
        is_readable,
        pids_of,
        program_of,
        socket_inodes,
    )
    from trayagent.ssh.os.linux_transport import is_known, pipe_ends, pipe_holders

    def leads_to_others(processes: Collection[Process], *users: int) -> bool:
        """Report whether one of these processes has a Unix socket, pipe, FIFO or device that leads to another process.

        `users` are the pids of the ssh processes that use them. What is open as the standard errors does not count: it
        leads to a log. A FIFO always counts, because its other end may be opened later. So does a character device,
        such as a terminal, apart from those that lead nowhere. Raise NetlinkError.
        """
        errors = {descriptors(one.pid).get(_STDERR, "") for one in processes}
        held = {
            (one.pid, fd): target
            for one in processes
            for fd, target in descriptors(one.pid).items()
            if target not in errors
        }
        if any(_is_fifo_or_device(pid, fd, target) for (pid, fd), target in held.items()):
            return True
        family = {one.pid for one in processes} | set(users)
        if _pipe_leads_out({inode for t in held.values() if (inode := inode_of(t, "pipe"))}, family):
            return True
        own = {inode for pid in family for inode in socket_inodes(pid)}
        sockets = {inode for target in held.values() if (inode := inode_of(target))}
        with Channel(NETLINK_SOCK_DIAG) as channel:
            found = [unix_socket(channel, inode) for inode in sockets]
        return any(one is not None and one.peer and one.peer not in own for one in found)

    def may_be_elsewhere(pid: int, carrier: int | None = None) -> bool:
        """Report whether something else than the TCP connections of its transport may carry an ssh.

        This holds for the master that carries it, too. Raise NetlinkError.
        """
        if not is_known(pid):
            return True
        transport = transport_of(pid)
        programs = [one for one in transport if not is_ssh(one)]
        if programs and leads_to_others(programs, pid, *(one.pid for one in transport)):
            return True
        if carrier is None:
            return False
        flow = flow_of(carrier)
        return may_be_elsewhere(carrier, flow.carrier_pid if flow is not None else None)

    def is_ssh(process: Process) -> bool:
        """Report whether a process is an ssh of OpenSSH, and not another program or a script with that name."""
        return process.comm == "ssh" and is_openssh(process.pid)

    def _is_fifo_or_device(pid: int, fd: int, target: str) -> bool:
        if not target.startswith("/") or target in _NOWHERE:
            return False
        try:
            mode = os.stat(f"/proc/{pid}/fd/{fd}").st_mode  # noqa: PTH116 - see `descriptors`
        except OSError:
            return False
        return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)

    def _pipe_leads_out(pipes: set[int], family: set[int]) -> bool:
        """Report whether an end of these pipes is not held within a family, or also outside of it.

        A script may have left such a process behind before it became socat, or passed the pipes to a daemon. If this
        user cannot read that process (setuid), its process group shows it.
        """
        if not pipes:
            return False
        ends = [pipe_ends(pid) for pid in family]
        written = frozenset[int]().union(*(one.out for one in ends))
        read_ = frozenset[int]().union(*(one.into for one in ends))
        if not pipes <= written & read_:
            return True
        outside = pipe_holders(pipes) - family - {os.getpid()}
        if not all(_is_client(pid, pipes, family) for pid in outside):
            return True
        groups = {group for pid in family if (group := _group(pid)) is not None}
        others = (pid for pid in pids_of() if pid not in family and _group(pid) in groups)
        return not all(map(is_readable, others))

    def _is_client(pid: int, pipes: set[int], family: set[int]) -> bool:
        """Report whether a process is an ssh that left a master of the family in the background.

        It holds the same ends of the pipes as that master, and a carrier holds the other ends.
        """
        if not is_openssh(pid):
            return False
        ends = pipe_ends(pid)
        masters = [pipe_ends(one) for one in family if is_openssh(one)]
        return any(ends.out & pipes <= one.out and ends.into & pipes <= one.into for one in masters)

    def _group(pid: int) -> int | None:
        try:
            return os.getpgid(pid)
        except OSError:
            return None

    _STDERR = 2
    _NOWHERE = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})


def may_use_daemon(pid: int) -> bool:
    """Report whether the ProxyCommand of an ssh may leave the work to a daemon, such as that of a VPN.

    Then no connection of the command shows whether the ssh still works. A script or an unknown program may pass the
    data to a daemon in any way, now or later, and have a TCP connection for another purpose. An ssh in the transport
    is known, because its own TCP connection carries it. Raise NetlinkError.
    """
    transport = transport_of(pid)
    if any(not is_ssh(one) and program_of(one.pid) not in PROGRAMS - {"ssh"} for one in transport):
        return True
    return may_be_elsewhere(pid)
