"""Decides whether a connection uses Multipath TCP, and notes how such connections went; pure.

The kernel opens further subflows of such a connection from each physical interface, bound to it. With a tunnel, they
would go beside it. So a connection that a tunnel carries, and any connection while a tunnel carries everything, is
plain TCP. Nothing can end a subflow without ending its connection. So where a tunnel for everything was up before, all
connections are plain TCP.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import NETWORKS_KEPT, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.mptcp import Mptcp, MptcpTry, Outcome
from trayagent.core.facts.network import Network, Snapshot
from trayagent.core.facts.time_constants import (
    MPTCP_PLAIN_AFTER_RTTS,
    MPTCP_PLAIN_AFTER_S,
    MPTCP_PLAIN_S,
    MPTCP_SEEN_S,
    MPTCP_TUNNEL_NOTED_S,
    MPTCP_TUNNEL_S,
    MPTCP_UNIDENTIFIED_S,
    NEVER,
)
from trayagent.core.usable_routes import leads_into_tunnel, usable_routes


def mptcp_try(host: Host, snapshot: Snapshot, now: float) -> MptcpTry | None:
    """Return how the host's next connection uses Multipath TCP, None if it is plain TCP."""
    known = host.mptcp
    if now - known.seen_at > MPTCP_SEEN_S or not may_be_tried(host, snapshot):
        return None
    if now - known.tunnel_at <= MPTCP_TUNNEL_S:
        return None
    routes = [*usable_routes(host, snapshot)]
    if any(may_fail_on(known, route.network, now) for route in routes):
        return None
    rtt_s = host.master.rtt_s if host.master is not None and host.master.min_rtt_s is not None else 0.0
    tunnels = frozenset(a.ip for i in snapshot.interfaces if i.kind == "vpn" for a in i.addresses)
    return MptcpTry(max(MPTCP_PLAIN_AFTER_S, MPTCP_PLAIN_AFTER_RTTS * rtt_s), tunnels)


def may_fail_on(known: Mptcp, network: Network, now: float) -> bool:
    """Report whether Multipath TCP failed on this network lately, or perhaps, while the network is not identified."""
    return any(until > now and not failed.differs(network) for until, failed in known.plain_on)


def may_be_tried(host: Host, snapshot: Snapshot) -> bool:
    """Report whether no tunnel carries the host's next connection."""
    routes = [*usable_routes(host, snapshot)]
    tunnels = any(_is_tunnel(snapshot, route.interface) for route in routes)
    return bool(routes) and not tunnels and not snapshot.full_tunnel


def beside_tunnel(master: Master, snapshot: Snapshot) -> bool:
    """Report whether a tunnel for everything carries packets to the server of this Multipath TCP master.

    Then it must end, because its subflows may go beside the tunnel, now or after the next change of network.
    """
    if not master.mptcp or master.peer is None or not snapshot.full_tunnel:
        return False
    return leads_into_tunnel(snapshot, master.peer)


def note_tunnel(context: Context, host: Host, *snapshots: Snapshot) -> Host:
    """Note that a tunnel for everything is up, or was in one of these snapshots. Return the host."""
    known, now = host.mptcp, context.now
    if not context.state.started:  # an earlier agent's record of the host may not be read yet
        return host
    if now - known.tunnel_at < MPTCP_TUNNEL_NOTED_S or not any(one.full_tunnel for one in snapshots):
        return host
    if now - known.tunnel_at > MPTCP_TUNNEL_S and known.seen_at > NEVER:
        context.because(host.name, 0, "mptcp-tunnel", Evidence.of(tunnel="everything"))
    host = context.put(host, mptcp=replace(known, tunnel_at=now))
    context.do(Remember(host.name))
    return host


def note_outcome(known: Mptcp, outcome: Outcome, network: Network | None, now: float) -> Mptcp:
    """Return what is known after a connection from this network went like this."""
    others = tuple(
        (until, other)
        for until, other in known.plain_on
        if until > now and (network is None or other.differs(network))
    )
    if outcome == "answered":
        return replace(known, seen_at=now, plain_on=others)
    if network is None:
        return replace(known, plain_on=others)
    until = now + (MPTCP_PLAIN_S if network.known else MPTCP_UNIDENTIFIED_S)
    return replace(known, plain_on=((until, network), *others)[:NETWORKS_KEPT])


def identified(known: Mptcp, network: Network, now: float, *, works: bool) -> Mptcp:
    """Return what is known after a network was identified on which the host's master lives.

    `works`: that master uses Multipath TCP. Just before, a connection may have failed on the same network.
    """
    if any(not other.known and other.egress == network.egress for _, other in known.plain_on):
        rest = tuple((until, other) for until, other in known.plain_on if other.known)
        known = replace(known, plain_on=((now + MPTCP_PLAIN_S, network), *rest))
    if works and not any(network.matches(other) for other in known.works_on):
        known = replace(known, works_on=(network, *known.works_on)[:NETWORKS_KEPT])
    return known


def _is_tunnel(snapshot: Snapshot, name: str) -> bool:
    interface = snapshot.interface(name)
    return interface is not None and interface.kind == "vpn" and interface.up
