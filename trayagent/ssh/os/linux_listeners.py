"""Find the TCP ports that processes listen on."""

from __future__ import annotations

import os
from collections.abc import Collection

from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.inet_diag import LISTEN, tcp_sockets
from trayagent.ssh.os.linux_process import socket_inodes
from trayagent.ssh.os.types import Listener, Listeners


def tcp_listeners(pid: int) -> Listeners:
    """Return the TCP listeners of one process of this user, and those of all other processes. Raise NetlinkError."""
    mine = socket_inodes(pid)
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = tcp_sockets(channel, LISTEN)
    own = frozenset((s.local_ip, s.local_port) for s in found if s.inode in mine)
    return Listeners(own, frozenset((s.local_ip, s.local_port) for s in found if s.inode not in mine))


def all_listeners(ports: Collection[int]) -> list[Listener]:
    """Return the listeners on these ports. Raise NetlinkError."""
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = [s for s in tcp_sockets(channel, LISTEN) if s.local_port in ports]
    holders = _holders({s.inode for s in found})
    return [Listener(s.local_ip, s.local_port, s.uid, holders.get(s.inode)) for s in found]


def _holders(inodes: set[int]) -> dict[int, int]:
    """Return the pid for each socket inode, for the processes whose descriptors this user may read."""
    found: dict[int, int] = {}
    for entry in os.scandir("/proc") if inodes else ():
        if entry.name.isdigit():
            found |= dict.fromkeys(socket_inodes(int(entry.name)) & inodes, int(entry.name))
    return found
