"""Count what a master carries from its descriptors and the kernel's lists of sockets.

An accepted control connection has the listening socket's path as its name, even after the master stopped listening.
Each session keeps its control connection open until the session ends. A connection through a forward is a TCP socket,
or a Unix socket that has a name or whose peer has one: `-L PATH`, `-R PORT:PATH`, X11, the ssh-agent. The master also
holds the standard input and output of its clients. If these are sockets, they are pairs without a name, so they are
not counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.inet_diag import CLOSED, tcp_sockets
from trayagent.netlink.inet_diag import LISTEN as TCP_LISTEN
from trayagent.netlink.unix_diag import ESTABLISHED, UnixSocket, unix_socket, unix_sockets
from trayagent.ssh.os.linux_control_sockets import is_bind_name
from trayagent.ssh.os.linux_process import inode_of, own_inodes, socket_inodes, ssh_processes
from trayagent.ssh.os.linux_tcp_connection import flow_of
from trayagent.ssh.os.linux_transport import own_descriptors
from trayagent.ssh.os.types import Carried, Process

# Half-closed connections still carry bytes.
_CONNECTED_STATES = sorted(set(range(1, 12)) - {TCP_LISTEN, CLOSED})
_FEW = 20  # for more sockets, one dump of all costs less


def clients_of_master(pid: int, uid: int) -> list[Process]:
    """Return the ssh processes of a user that have a session or a request on a master. Raise NetlinkError."""
    held = socket_inodes(pid)
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = unix_sockets(channel, ESTABLISHED)
    peers = {one.peer for one in found if one.inode in held and is_bind_name(one.name)}
    if not peers:
        return []
    return [process for process in ssh_processes(uid) if socket_inodes(process.pid) & peers]


def carried_by(pid: int) -> Carried:
    """Return what a master carries, without the agent's own connections to it. Raise NetlinkError."""
    held = _sockets_of(pid)
    flow = flow_of(pid)
    server = flow.inode if flow is not None and flow.pid_of_holder == pid else None
    with Channel(NETLINK_SOCK_DIAG) as channel:
        unix = {s.inode: s for s in unix_sockets(channel, ESTABLISHED)}
        tcp = tcp_sockets(channel, *_CONNECTED_STATES)
    connections = sum(s.inode in held and s.inode != server for s in tcp)
    own = [unix[inode] for inode in held & unix.keys()]
    for one in own:
        peer = unix.get(one.peer)
        connections += not is_bind_name(one.name) and bool(one.name or (peer is not None and peer.name))
    return Carried(_sessions(own), connections)


def sessions_of(pid: int) -> int:
    """Return how many sessions of other programs a master carries. Raise NetlinkError.

    This is much cheaper than `carried_by`, because it asks the kernel about the master's own sockets only.
    """
    held = _sockets_of(pid)
    with Channel(NETLINK_SOCK_DIAG) as channel:
        if len(held) > _FEW:
            return _sessions(one for one in unix_sockets(channel, ESTABLISHED) if one.inode in held)
        found = [unix_socket(channel, inode) for inode in held]
    return _sessions(one for one in found if one is not None and one.state == ESTABLISHED)


def _sockets_of(pid: int) -> set[int]:
    return {inode for target in own_descriptors(pid).values() if (inode := inode_of(target))}


def _sessions(own: Iterable[UnixSocket]) -> int:
    """Count the control connections of other programs among a master's Unix sockets."""
    peers = [one.peer for one in own if one.peer and is_bind_name(one.name)]
    ours = own_inodes() if peers else frozenset()
    return sum(peer not in ours for peer in peers)
