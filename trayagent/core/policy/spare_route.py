"""Decides through which interface a host may have a spare master, and where none is allowed; pure.

A spare master is bound to its interface. So the kernel's rules, which may lead every packet into a tunnel, do not apply
to it. It may only be made where the kernel would send the host's next connection itself if the first interface
vanished. In doubt there is no spare master: a host without one loses half a second at a move.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal

from msgspec import Struct

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import FULL_TUNNEL_BITS, Interface, Route, Snapshot
from trayagent.core.facts.state import State
from trayagent.core.policy.admission import admission_over, needs_known_network
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.shared_connection import owner_of_connection
from trayagent.core.usable_routes import UsableRoute, route_lookup, usable

Obstacle = Literal[
    "off",
    "not-always",
    "not-connected",
    "not-started-by-agent",
    "needs-user",
    "not-direct",
    "shared",
    "vpn",
    "tunnel",
    "one-network",
    "metered",
    "policy-routing",
    "network",
]
"""Why a host has no spare master.

"off": it is not configured, or the host is held down. "not-direct": the connection leads through a jump host or a
command, or an address to bind to is set. "vpn": the host needs a VPN. "tunnel": a tunnel is up that may have to carry
it. "network": the host may not be connected on the other network. The others say what they are.
"""


class Spare(Struct, frozen=True):
    """The route of a host's spare master, or why there is none."""

    route: UsableRoute | None = None
    obstacle: Obstacle | None = None


def spare_of(host: Host, state: State) -> Spare:
    """Return through which interface the host may have a spare master now."""
    master = host.master
    obstacle = obstacle_of_host(host, state)
    if obstacle is not None or master is None or master.peer is None:
        return Spare(obstacle=obstacle or "not-connected")
    first = first_interface(host)
    found: Obstacle = "one-network"
    for face in state.snapshot.interfaces:
        if face.name == first:
            continue
        route = route_through(state.snapshot, master.peer, face)
        if route is None:
            continue
        obstacle = obstacle_at(host, state, face, route)
        if obstacle is None:
            return Spare(route)
        found = obstacle
    return Spare(obstacle=found)


def first_interface(host: Host) -> str | None:
    """Return the interface of the host's own master, None if it is unknown."""
    master = host.master
    if master is not None and master.bound is not None:
        return master.bound
    return (host.path.bearer or host.path.egress) if host.path is not None else None


def obstacle_of_host(host: Host, state: State) -> Obstacle | None:
    """Return why the host may have no spare master on any interface."""
    if not host.wish.standby or not host.wish.listed or host.user.held or host.unnamed:
        return "off"
    if host.wish.connect != "always":
        return "not-always"
    if login_needs_user(host) or host.login.helped:
        return "needs-user"
    if host.wish.vpn is not None or host.reached.learned_vpn is not None:
        return "vpn"
    master, spare = host.master, host.spare
    if spare is not None and spare.peer is not None and beside_tunnel(state, spare.peer):
        return "tunnel"
    if master is None:
        return None
    if not master.started_by_agent or master.relayed:
        return "not-started-by-agent"
    plain = host.resolved is not None and host.resolved.plain_connect and not host.resolved.hops
    if not plain or not master.direct or master.carrier is not None or master.peer is None:
        return "not-direct"
    if owner_of_connection(host, state.hosts) is not None:
        return "shared"
    return "tunnel" if beside_tunnel(state, master.peer) else None


def obstacle_at(host: Host, state: State, face: Interface, route: UsableRoute) -> Obstacle | None:
    """Return why the host may have no spare master on this interface, whose route to the server is `route`."""
    master = host.master
    if not unmetered(state, face):
        return "metered"
    if master is None or master.peer is None:
        return None
    if not _would_be_chosen(state.snapshot, master.peer, face.name, first_interface(host)):
        return "policy-routing"
    known = host.reached.at(route.network)
    if not admission_over(host, state, route).open or (needs_known_network(host) and not known):
        return "network"
    return None


def route_through(snapshot: Snapshot, peer: str, face: Interface) -> UsableRoute | None:
    """Return the route to a server through this interface, None if there is none that works now."""
    route = snapshot.matched.get(route_lookup(peer, face.name))
    if face.kind != "physical" or not face.up or route is None or route.interface != face.name:
        return None
    out = usable(snapshot, route)
    works = any(a.ip == out.source and not (a.tentative or a.deprecated) for a in face.addresses)
    return out if works else None


def beside_tunnel(state: State, peer: str) -> bool:
    """Report whether a tunnel is up, or about to be, that leads to this server or may have to carry everything."""
    snapshot = state.snapshot
    tunnels = {face.name for face in snapshot.interfaces if face.kind == "vpn" and face.up}
    configured = (state.vpn_interface(vpn.name) for vpn in state.vpns)
    tunnels |= {face.name for face in configured if face is not None}
    if any(_may_carry(route, peer) for route in snapshot.routes if route.interface in tunnels):
        return True
    # Without an interface (IPsec), no route shows what the VPN carries.
    return any(
        vpn.state == "connecting" or (vpn.state == "up" and vpn.interface is None)
        for vpn in state.manager.vpns
    )


def _may_carry(route: Route, peer: str) -> bool:
    return route.prefix_len <= FULL_TUNNEL_BITS or _leads_to(route.prefix, peer)


def unmetered(state: State, face: Interface) -> bool:
    """Report whether traffic through this interface certainly costs nothing.

    Without a network manager, a Wi-Fi may be that of a phone.
    """
    if not state.manager.running:
        return face.wired
    link = state.manager.link(face.name)
    return link is not None and link.metered is False


def _would_be_chosen(snapshot: Snapshot, peer: str, interface: str, first: str | None) -> bool:
    """Report whether the kernel would send a new connection through this interface if the first one vanished."""
    chosen = snapshot.matched.get(route_lookup(peer))
    if chosen is None:
        return False
    if chosen.interface != interface:
        if chosen.interface != first:
            return False
        chosen = _next_in_table(snapshot, peer, chosen)
        if chosen is None or chosen.interface != interface:
            return False
    return not any(
        wall.table == chosen.table and _leads_to(wall.prefix, peer) and _better(wall, chosen)
        for wall in snapshot.walls
    )


def _next_in_table(snapshot: Snapshot, peer: str, chosen: Route) -> Route | None:
    """Return the route of the same table that applies once the interface of `chosen` is gone.

    A rule that led to no route before leads to none then either, so the table stays the same.
    """
    others = [
        route
        for route in snapshot.routes
        if route.table == chosen.table
        and route.interface != chosen.interface
        and snapshot.is_up(route.interface)
        and _leads_to(route.prefix, peer)
    ]
    return min(others, key=lambda route: (-route.prefix_len, route.metric), default=None)


def _better(one: Route, other: Route) -> bool:
    return (-one.prefix_len, one.metric) <= (-other.prefix_len, other.metric)


@lru_cache(maxsize=4096)  # a routing table may have many routes
def _leads_to(prefix: str, peer: str) -> bool:
    address, net = ip_address(peer.partition("%")[0]), ip_network(prefix)
    return address.version == net.version and address in net


def fits(master: Master, spare: Master) -> bool:
    """Report whether a spare master certainly reached the same machine as the host's master."""
    same_key = None in {master.host_key, spare.host_key} or master.host_key == spare.host_key
    return same_key and (master.peer, master.peer_port) == (spare.peer, spare.peer_port)
