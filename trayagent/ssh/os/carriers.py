"""Find the processes that may end together with an ssh, because ssh started them only to carry it.

A script may leave a program behind as its child that others use, such as another ssh with forwards or a master. So not
every descendant of an ssh ends with it. OpenSSH itself sends SIGHUP to the process of its ProxyCommand, and to no other
process (sshconnect.c, ssh_kill_proxy_command). All others read the end of their input, once the ssh is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from msgspec import Struct

from trayagent.ssh.os.process import Process

PROGRAMS = frozenset(
    {
        "ssh",
        "socat",
        "socat1",
        "nc",
        "nc.openbsd",
        "nc.traditional",
        "ncat",
        "netcat",
        "connect",
        "connect-proxy",
    }
)
"""Programs that only carry their input over the TCP connection that they have."""


class Carrier(Struct, frozen=True):
    """A process that carries an ssh, and that serves no other program.

    `only`: it does nothing else, so it may be killed. Any other program gets the signal that ssh sends.
    """

    process: Process
    only: bool


if sys.platform == "darwin":
    from trayagent.ssh.os.tcp_connection import transport_of

    def carriers_of(pid: int) -> list[Carrier]:
        """Return the process that ssh started to carry it. Nothing shows whether it serves others, so never kill it."""
        return [Carrier(one, only=False) for one in transport_of(pid) if one.ppid == pid]
else:
    from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
    from trayagent.netlink.errors import NetlinkError
    from trayagent.netlink.inet_diag import LISTEN as TCP_LISTEN
    from trayagent.netlink.inet_diag import tcp_sockets
    from trayagent.netlink.unix_diag import LISTEN, unix_socket
    from trayagent.ssh.os.linux_control_sockets import is_bind_name
    from trayagent.ssh.os.linux_process import children_of, is_openssh, program_of, read, socket_inodes
    from trayagent.ssh.os.linux_transport import own_descriptors, pipe_ends, pipe_holders, proxies

    def carriers_of(pid: int) -> list[Carrier]:
        """Return the processes that carry an ssh and may end with it, and those that carry an `ssh -W` among them.

        Each holds the other ends of both pipes of the ssh. It is the process that ssh started, or a known program.
        """
        found: dict[int, Carrier] = {}
        for one in _found(pid):
            only = _only_carries(one) and _is_alone(one, pid)
            if one.pid in found or not (only or one.ppid == pid) or _serves_others(one.pid):
                continue
            found[one.pid] = Carrier(one, only)
            if one.comm == "ssh" and only:
                found |= {inner.process.pid: inner for inner in carriers_of(one.pid)}
        return list(found.values())

    def _found(pid: int) -> Iterator[Process]:
        yield from proxies(pid, own_descriptors(pid))
        # A child that ssh has just started may not have moved the pipes yet. An askpass has only one of them.
        into = pipe_ends(pid).into
        for child in map(read, children_of(pid)):
            if child is not None and pipe_ends(child.pid).out & into:
                yield child

    def _only_carries(process: Process) -> bool:
        return program_of(process.pid) in PROGRAMS and (process.comm != "ssh" or is_openssh(process.pid))

    def _is_alone(carrier: Process, pid: int) -> bool:
        """Report whether nothing but an ssh and one process has the pipes between them.

        The scripts around that process have them, too, and the client that left a master in the background. In every
        other case it is not certain who carries the ssh, or whether another master uses the same pipes, which an ssh -W
        left in the background. The end of the pipes then ends the right process.
        """
        ends, own = pipe_ends(carrier.pid), pipe_ends(pid)
        around, up = {pid, os.getpid()}, read(carrier.ppid)
        while up is not None and up.pid != pid and program_of(up.pid) not in PROGRAMS:
            around.add(up.pid)
            up = read(up.ppid)
        ssh = read(pid)
        if ssh is not None and is_openssh(ssh.ppid):
            around.add(ssh.ppid)
        return pipe_holders((ends.into & own.out) | (ends.out & own.into)) <= around | {carrier.pid}

    def _serves_others(pid: int) -> bool:
        """Report whether a process has a listener or a client of its control socket. True if the kernel cannot say."""
        held = socket_inodes(pid)
        try:
            with Channel(NETLINK_SOCK_DIAG) as channel:
                if held and tcp_sockets(channel, TCP_LISTEN, inodes=held):
                    return True
                found = [unix_socket(channel, inode) for inode in held]
        except NetlinkError:
            return True
        return any(one is not None and (one.state == LISTEN or is_bind_name(one.name)) for one in found)
