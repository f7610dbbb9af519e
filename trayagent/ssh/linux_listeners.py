"""Which TCP ports a process listens on."""

from __future__ import annotations

from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.inet_diag import LISTEN, tcp_sockets
from trayagent.ssh.linux_process import socket_inodes
from trayagent.ssh.seen import Listeners


def tcp_listeners(pid: int) -> Listeners:
    """Return who listens, seen from one process of this user; raises NetlinkError."""
    mine = socket_inodes(pid)
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = tcp_sockets(channel, LISTEN)
    own = frozenset((s.local_ip, s.local_port) for s in found if s.inode in mine)
    return Listeners(own, frozenset((s.local_ip, s.local_port) for s in found if s.inode not in mine))
