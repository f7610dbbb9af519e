"""Find the TCP connection that carries an ssh process, and read its state from the kernel.

When an ssh client starts, it closes all descriptors above 2. Then it connects to its server (sshconnect.c). Higher TCP
sockets are forwarded connections, and a name service (LDAP, a database) may have opened a lower one before. What ssh
accepted for a forward is recognized by its local port. If several connections remain, nothing shows which one carries
ssh: then the others are the `others` of the flow.

There is one exception. ssh receives a pre-connected socket (ProxyUseFdpass) through other descriptors, which it closes
later. A forwarded connection may then get one of these lower numbers. It is recognized by its local port, because ssh
listens on that port. The passed socket may also be a Unix socket or one of a virtual machine (systemd-ssh-proxy). Then
no TCP connection of ssh carries it. It is recognized by its descriptor, which is lower than theirs.

Behind a ProxyJump or ProxyCommand, ssh has pipes instead (see `linux_transport`), and the proxy has the TCP socket. A
proxy without a TCP socket uses another master through a Unix socket. The other end of that socket shows which master.

If this user cannot read the proxy, no connection is returned. ssh may have others, such as those of its remote
forwards.

A connection to this machine itself may lead into the local forward of another ssh. Then the connection of that ssh
carries it.

A list of all TCP sockets takes milliseconds with a hundred masters, and each of them is searched for several times in
a move. So this module remembers the connection that a process itself has. It belongs to that process as long as the
process holds the socket. The kernel confirms each time that the connection is still established. Only a multipath
connection (MPTCP) may move to another address meanwhile, so a connection whose address is gone is searched for again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from msgspec import Struct
from msgspec.structs import replace

from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.inet_diag import (
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LISTEN,
    TIME_WAIT,
    TIMER_RETRANSMIT,
    TIMER_ZERO_WINDOW,
    TcpSocket,
    parse_tcp,
    tcp_answers,
    tcp_socket,
    tcp_sockets,
)
from trayagent.netlink.inet_diag import inode_of as inode_in
from trayagent.netlink.unix_diag import ESTABLISHED as UNIX_ESTABLISHED
from trayagent.netlink.unix_diag import LISTEN as UNIX_LISTEN
from trayagent.netlink.unix_diag import unix_socket
from trayagent.ssh.os.linux_process import (
    age_s,
    comm_of,
    descriptors,
    inode_of,
    is_openssh,
    read,
    socket_inodes,
    ssh_pids,
)
from trayagent.ssh.os.linux_transport import is_hidden, own_descriptors, proxies, with_descendants
from trayagent.ssh.os.types import Flow, Process, TcpFacts, Via

QUERY_INTERVAL_S = 0.030
"""How often to search for an attempt's connection: each search takes a millisecond."""

# How many masters may carry one another in a chain. The chain cannot form a ring, but a bound costs nothing.
_DEEPEST = 8
# Use a list of sockets again for this many times the time that it took to make, but not for long. So with
# many hosts, the lists take a twentieth of the agent's time.
_LIST_AGAIN = 19
_LIST_VALID_S = 0.1
# The C library keeps these connections open after it read the user's name or the server's address.
_NAME_SERVICES = (
    "/var/lib/sss/",
    "/run/nscd/",
    "/var/run/nscd/",
    "/run/nslcd/",
    "/var/run/nslcd/",
    "/run/systemd/",
    "/run/samba/",
    "/var/run/samba/",
    "/run/dbus/",
)
_LOGGED_IN_S = 120.0  # sshd ends a login that takes longer (LoginGraceTime)
_MOST_KNOWN = 4000
_MOST_CARRIERS = 8


class _List(Struct, frozen=True):
    """The kernel's answers about all established TCP sockets, by inode, and until when they may be used again."""

    by_inode: dict[int, bytes] = {}
    until: float = 0.0


class _Known:
    """What is remembered between searches."""

    def __init__(self) -> None:
        self.flows: dict[int, Flow] = {}  # the direct connection of each process, by pid
        self.established = _List()
        self.carriers: dict[int, None] = {}  # the masters that carried others, by pid


_known = _Known()


def forget_list() -> None:
    """Make the next search list all sockets again. Call this when the network changed."""
    _known.established = _List()


def flow_of(pid: int) -> Flow | None:
    """Return the connection that carries a process, or None if none is established. Raise NetlinkError."""
    with Channel(NETLINK_SOCK_DIAG) as channel:
        process = read(pid)
        return _Search(channel, frozenset({"ssh", process.comm if process is not None else ""})).flow(pid)


# The kernel rounds timers up to the granularity of its timer wheel, an eighth of a long timeout (kernel/time/timer.c).
# It reports the time before that.
TIMER_SLACK = 1 / 7


def tcp_facts(flow: Flow) -> TcpFacts | None:
    """Return the state of a connection, or None if the connection is gone or closing. Raise NetlinkError."""
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = tcp_socket(
            channel, (flow.local_ip, flow.local_port), (flow.peer_ip, flow.peer_port), bound=flow.scope
        )
    if found is None or found.inode != flow.inode or found.state != ESTABLISHED or found.info is None:
        return None
    info = found.info
    due = found.timer in {TIMER_RETRANSMIT, TIMER_ZERO_WINDOW}
    return TcpFacts(
        rtt_s=info.rtt_us / 1e6,
        rttvar_s=info.rttvar_us / 1e6,
        min_rtt_s=None if info.min_rtt_us is None else info.min_rtt_us / 1e6,
        rto_s=info.rto_us / 1e6,
        unacked=info.unacked,
        retransmits=info.retransmits,
        backoff=info.backoff,
        last_ack_recv_s=info.last_ack_recv_ms / 1e3,
        last_data_recv_s=info.last_data_recv_ms / 1e3,
        bytes_acked=info.bytes_acked,
        bytes_received=info.bytes_received,
        bytes_sent=info.bytes_sent,
        bytes_retrans=info.bytes_retrans,
        queued=found.unacked_bytes,
        retransmit_in_s=found.expires_ms / 1e3 + info.rto_us / 1e6 * TIMER_SLACK if due else None,
    )


def closed_from_here(local: tuple[str, int], peer: tuple[str, int], *, or_open: bool = False) -> bool:
    """Report whether this machine was the first to close a connection that worked until then.

    Call it right after the program that had the connection ended. The kernel keeps such a connection until the peer has
    closed it as well. It forgets a connection at once that the peer reset, and it sends the end again if the network is
    lost. `or_open`: a proxy had the connection, which closes it later, so an open connection counts, too. Raise
    NetlinkError.
    """
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = tcp_socket(channel, local, peer)
    wanted = {FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, CLOSING, *([ESTABLISHED] if or_open else [])}
    return found is not None and found.state in wanted and found.retransmits == 0


def retransmissions(inodes: AbstractSet[int]) -> dict[int, int]:
    """Return how often each of these connections has sent its oldest data again, by the socket's inode.

    One dump of the kernel's sockets answers for all. Raise NetlinkError.
    """
    with Channel(NETLINK_SOCK_DIAG) as channel:
        found = tcp_sockets(channel, ESTABLISHED, info=True, inodes=inodes)
    return {one.inode: one.info.retransmits for one in found if one.info is not None}


@dataclass
class _Search:
    """One search for a connection. `names` are the names of programs that count as ssh."""

    channel: Channel
    names: frozenset[str] = frozenset({"ssh"})

    @cached_property
    def holders(self) -> dict[int, int]:
        """The pid of the process that holds a socket, by the socket's inode, for all ssh processes of this user."""
        return {inode: pid for pid in self._ssh_pids() for inode in socket_inodes(pid)}

    def _ssh_pids(self) -> Iterator[int]:
        return ssh_pids(os.getuid(), self.names)

    def flow(self, pid: int, depth: int = 0) -> Flow | None:
        """Return the connection that carries `pid`, or None. `depth` counts the masters and proxies passed so far."""
        own = own_descriptors(pid)
        through = proxies(pid, own)
        if depth > _DEEPEST:
            return None
        if not through:
            return self._behind_forward(pid, self._direct(pid, own), depth)
        found = (self._through(proxy, depth) for proxy in through)
        return next((flow for flow in found if flow is not None), None)

    def _direct(self, pid: int, own: dict[int, str]) -> Flow | None:
        """Return the connection that a process itself has to its server, or None."""
        known = _known.flows.get(pid)
        held = known is not None and f"socket:[{known.inode}]" in own.values()
        if known is not None and held and self._stays(known):
            return known
        if not held and is_hidden(pid, own):
            return None
        found = list(self._tcp(pid, own, again=True))
        if held:
            found = [one for one in found if known is not None and one.inode == known.inode]
        flow = replace(found[0], others=tuple(found[1:])) if found else None
        if flow is not None and not held and self._has_other_socket(own, flow):
            flow = None
        if len(_known.flows) > _MOST_KNOWN:
            _known.flows.clear()
        if flow is not None and (held or self._is_certain(pid, own, flow)):
            _known.flows[pid] = flow
        else:
            _known.flows.pop(pid, None)
        return flow

    def _is_certain(self, pid: int, own: dict[int, str], flow: Flow) -> bool:
        """Report whether a connection surely leads to the server: it is the only one, and ssh has logged in.

        Until then, it may be that of the name service. A master listens once it has logged in.
        """
        if flow.others:
            return False
        process = read(pid)
        if process is not None and age_s(process) > _LOGGED_IN_S:
            return True
        sockets = (unix_socket(self.channel, inode) for target in own.values() if (inode := inode_of(target)))
        return any(one is not None and one.state == UNIX_LISTEN for one in sockets)

    def _has_other_socket(self, own: dict[int, str], flow: Flow) -> bool:
        """Report whether ssh has a connection below its lowest TCP connection that may carry it instead.

        A listener, a client of the master and a connection of the name service carry nothing.
        """
        first = next(inode for target in own.values() if (inode := inode_of(target)))
        if first == flow.inode or first in _known.established.by_inode:
            return False
        found = unix_socket(self.channel, first)
        if found is None:
            return not tcp_sockets(self.channel, LISTEN, inodes={first})
        if found.state != UNIX_ESTABLISHED or found.name or not found.peer:
            return False
        peer = unix_socket(self.channel, found.peer)
        return peer is None or not peer.name.startswith(_NAME_SERVICES)

    def _stays(self, flow: Flow) -> bool:
        """Report whether a connection is still established and this machine still has its local address."""
        found = tcp_socket(
            self.channel, (flow.local_ip, flow.local_port), (flow.peer_ip, flow.peer_port), bound=flow.scope
        )
        if found is None or (found.inode, found.state) != (flow.inode, ESTABLISHED):
            return False
        return _is_local(flow)

    def _behind_forward(self, pid: int, flow: Flow | None, depth: int) -> Flow | None:
        return flow if flow is None or flow.others else self._through_forward(pid, flow, depth)

    def _through_forward(self, pid: int, flow: Flow, depth: int) -> Flow:
        """Return the flow of the ssh whose local forward carries this one (`-L 2222:inner:22`), or the flow itself."""
        if not ip_address(flow.peer_ip).is_loopback:
            return flow
        local, peer = (flow.local_ip, flow.local_port), (flow.peer_ip, flow.peer_port)
        accepted = tcp_socket(self.channel, peer, local)
        holder = self.holders.get(accepted.inode) if accepted is not None else None
        carried = self.flow(holder, depth + 1) if holder not in {None, pid} else None
        return flow if carried is None else replace(carried, via="carried", carrier_pid=holder)

    def _through(self, proxy: Process, depth: int) -> Flow | None:
        """Return the flow of a transport: its own TCP connection, a descendant's, or that of the master it uses.

        The other connections of these processes are the `others` of the flow.
        """
        found: dict[int, Flow] = {}
        for one in with_descendants(proxy):
            for flow in self._flows_of(one, depth):
                for each in (replace(flow, others=()), *flow.others):
                    found.setdefault(each.inode, each)  # a child may hold its parent's socket, too
        if not found:
            return None
        first, *others = found.values()
        return replace(first, others=tuple(others))

    def _flows_of(self, one: Process, depth: int) -> list[Flow]:
        """Return the flows of one process of a transport. An ssh process has one at most."""
        if one.comm in self.names and (one.comm != "ssh" or is_openssh(one.pid)):
            inner = self.flow(one.pid, depth + 1)
            own = [inner] if inner is not None else []
        else:
            own = [self._through_forward(one.pid, f, depth) for f in self._tcp(one.pid, descriptors(one.pid))]
        carrier = self._carrier(one.pid) if not own else self._forked(one.pid, own[0])
        if carrier is not None:
            carried = self.flow(carrier, depth + 1)
            return [] if carried is None else [replace(carried, via="carried", carrier_pid=carrier)]
        others = (other for flow in own for other in flow.others)
        own = [replace(flow, others=()) for flow in (*own, *others)]
        return [replace(flow, via="carried" if flow.via == "carried" else "child") for flow in own]

    def _tcp(self, pid: int, fds: dict[int, str], *, again: bool = False) -> Iterator[Flow]:
        """Yield the TCP connections that a process made, by their descriptors, lowest first.

        `again`: a recent list of all sockets may be used again, if it has one of this process and lacks none.
        """
        inodes = [inode for target in fds.values() if (inode := inode_of(target))]
        if not inodes:
            return
        listed = _known.established
        if not again or time.monotonic() > listed.until or not self._is_complete(listed, inodes):
            listed = self._listed()
        found = [parse_tcp(listed.by_inode[i]) for i in inodes if i in listed.by_inode]
        if len(found) > 1:
            ports = {s.local_port for s in tcp_sockets(self.channel, LISTEN, inodes=set(inodes))}
            found = [s for s in found if s.local_port not in ports]
        yield from (_flow(s, pid, "direct") for s in found)

    def _is_complete(self, listed: _List, inodes: list[int]) -> bool:
        """Report whether a list has sockets of a process, and all its others are Unix sockets, which are not listed.

        A connection that was made since the list may be the one that carries ssh.
        """
        others = [inode for inode in inodes if inode not in listed.by_inode]
        return len(others) < len(inodes) and all(unix_socket(self.channel, inode) for inode in others)

    def _listed(self) -> _List:
        began = time.monotonic()
        by_inode = {inode_in(one): one for one in tcp_answers(self.channel, ESTABLISHED)}
        took_s = time.monotonic() - began
        _known.established = _List(by_inode, began + min(_LIST_VALID_S, (1 + _LIST_AGAIN) * took_s))
        return _known.established

    def _forked(self, pid: int, flow: Flow) -> int | None:
        """Return the master that a transport left in the background (ControlPersist), or None.

        After that, the transport is a client of the new master. It still holds the socket, but does not read it.
        """
        if flow.pid_of_holder != pid:
            return None
        others = (other for other in self._ssh_pids() if other != pid)
        return next((o for o in others if flow.inode in socket_inodes(o) and _in_background(o)), None)

    def _carrier(self, pid: int) -> int | None:
        """Return the ssh process at the other end of one of the Unix sockets of `pid`.

        Many hosts may have one jump host, so its master is tried first. Only then are all processes searched.
        """
        ends = (unix_socket(self.channel, inode) for inode in sorted(socket_inodes(pid)))
        peers = [one.peer for one in ends if one is not None and one.state == UNIX_ESTABLISHED and one.peer]
        for likely in [*_known.carriers] if peers else ():
            if likely != pid and peers[0] in socket_inodes(likely) and comm_of(likely) in self.names:
                return likely
        found = (self.holders.get(peer) for peer in peers)
        carrier = next((holder for holder in found if holder not in {None, pid}), None)
        if carrier is not None:
            if len(_known.carriers) >= _MOST_CARRIERS:
                _known.carriers.clear()
            _known.carriers[carrier] = None
        return carrier


def _is_local(flow: Flow) -> bool:
    """Report whether this machine has the local address of a connection now: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in flow.local_ip else socket.AF_INET
    address = (flow.local_ip, 0, 0, flow.scope) if family == socket.AF_INET6 else (flow.local_ip, 0)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind(address)
    except OSError:
        return False
    return True


def _in_background(pid: int) -> bool:
    """Report whether the title of a process shows that it is a master which moved itself into the background.

    The title is another one after the master stopped listening (`ssh -O stop`, a drain).
    """
    process = read(pid)
    titles = (" [mux]", " [stopped mux]")
    return process is not None and bool(process.argv) and process.argv[-1].endswith(titles)


def _flow(found: TcpSocket, holder: int, via: Via) -> Flow:
    return Flow(
        found.local_ip,
        found.local_port,
        found.peer_ip,
        found.peer_port,
        found.inode,
        holder,
        via,
        scope=found.bound,
    )
