"""Find out whether another process may carry an ssh, on Linux only."""

from __future__ import annotations

import sys
from collections.abc import Collection

from trayagent.ssh.os.tcp_connection import transport_of
from trayagent.ssh.os.types import Process

if sys.platform == "darwin":

    def leads_to_others(processes: Collection[Process]) -> bool:
        """Return True, because this is unknown on macOS."""
        del processes
        return True
else:
    from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
    from trayagent.netlink.unix_diag import unix_socket
    from trayagent.ssh.os.linux_process import descriptors, inode_of, socket_inodes

    def leads_to_others(processes: Collection[Process]) -> bool:
        """Report whether one of these processes has a Unix socket that leads to another process.

        Standard input, output and errors do not count: they lead to the ssh or to a log. Raise NetlinkError.
        """
        own = {inode for one in processes for inode in socket_inodes(one.pid)}
        held = {
            inode
            for one in processes
            for fd, target in descriptors(one.pid).items()
            if fd > _STDERR and (inode := inode_of(target))
        }
        with Channel(NETLINK_SOCK_DIAG) as channel:
            found = [unix_socket(channel, inode) for inode in held]
        return any(one is not None and one.peer and one.peer not in own for one in found)

    _STDERR = 2


_CARRIERS = frozenset({"ssh", "socat", "nc", "ncat", "netcat", "connect", "connect-proxy"})
"""Programs that carry their input over the TCP connection that they have."""


def may_use_daemon(pid: int) -> bool:
    """Report whether the ProxyCommand of an ssh may leave the work to a daemon, such as that of a VPN.

    Then no connection of the command shows whether the ssh still works. A script or an unknown program may pass the
    data to a daemon in any way, such as a named pipe, and have a TCP connection for another purpose. An ssh in the
    transport is left out, because its own TCP connection carries it. Raise NetlinkError.
    """
    transport = transport_of(pid)
    if any(one.comm not in _CARRIERS for one in transport):
        return True
    return leads_to_others([one for one in transport if one.comm != "ssh"])
