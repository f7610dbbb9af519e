"""Finds usable routes, the path of a master, and the current network; pure.

docs/architecture.md defines the words (path, usable, underlay, network).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master, MasterPath
from trayagent.core.facts.network import Lookup, Network, Route, Snapshot
from trayagent.core.interface_addresses import first_address
from trayagent.core.tunnel_underlay import underlay

# Addresses without a meaning outside their own network: RFC 1918, RFC 6598 (carrier-grade NAT, overlay networks), IPv4
# and IPv6 link-local, RFC 4193. `ip_address.is_private` also includes documentation and benchmark prefixes.
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "fe80::/10",
            "fc00::/7",
        ),
    )
)


_NOTHING = Snapshot()


class UsableRoute(Struct, frozen=True):
    """The route of a new connection: a usable route, with the address from which the kernel would send."""

    interface: str
    source: str | None
    network: Network


@lru_cache(maxsize=1024)
def is_address(text: str) -> bool:
    """Report whether the text is a literal IP address (a scope id is allowed)."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def is_private(ip: str) -> bool:
    """Report whether an address has no meaning outside its own network (RFC 1918, 4193, 6598, link-local)."""
    address = ip_address(ip.partition("%")[0])
    return any(address.version == net.version and address in net for net in _PRIVATE)


def usable_interface(snapshot: Snapshot, name: str, reached_through: Iterable[str] = ()) -> bool:
    """Report whether a host's traffic can be expected to leave the machine through the interface.

    A purely virtual interface (a container's veth, docker0) leads out only in two cases: it has the machine's
    default route (a container, WSL), or this host was reached through it (`reached_through`).
    """
    interface = snapshot.interface(name)
    if interface is None or not interface.up:
        return False
    if interface.kind == "vpn":
        return underlay(snapshot) is not None
    if interface.kind == "virtual":
        return name in set(reached_through) or _bears_default(snapshot, name)
    return True


def network_of(snapshot: Snapshot, route: Route) -> Network:
    """Return the network through which a route leads (for a tunnel: the tunnel and the prefix)."""
    interface = snapshot.interface(route.interface)
    if interface is not None and interface.kind in {"vpn", "loopback"}:
        return Network(route.interface, route.prefix)
    gateway = route.gateway or next(
        (r.gateway for r in snapshot.default_routes if r.interface == route.interface and r.gateway), None
    )
    mac = snapshot.gateway_macs.get((route.interface, gateway), "") if gateway else ""
    return Network(route.interface, mac, snapshot.name_at(route.interface) or "")


def gateway_unresolved(snapshot: Snapshot, network: Network | None) -> bool:
    """Report whether a network has a gateway whose hardware address the kernel does not know yet.

    The kernel resolves the address when it sends the first packet to the gateway, and reports no change.
    """
    if network is None or network.gateway:
        return False
    return any(r.interface == network.egress and r.gateway for r in snapshot.routes)


def network_here(snapshot: Snapshot) -> Network | None:
    """Return the network to which the best default route leads, ignoring tunnels."""
    for route in snapshot.default_routes:
        interface = snapshot.interface(route.interface)
        if interface is not None and interface.kind != "vpn":
            return network_of(snapshot, route)
    return None


def network_from(snapshot: Snapshot, local: str) -> Network | None:
    """Return the network through which a connection from a local address leaves, or None if the address is gone."""
    names = {
        face.name for face in snapshot.interfaces if any(address.ip == local for address in face.addresses)
    }
    if not names and snapshot.has_address(local):
        return network_here(snapshot)  # the address belongs to no interface
    routes = (*snapshot.default_routes, *snapshot.routes)
    return next((network_of(snapshot, route) for route in routes if route.interface in names), None)


def network_between(snapshot: Snapshot, local: str, peer: str) -> Network | None:
    """Return the network through which the interface with the address `local` leads to `peer`, or None."""
    names = {face.name for face in snapshot.interfaces if any(a.ip == local for a in face.addresses)}
    address = ip_address(peer.partition("%")[0])
    fits = (r for r in snapshot.routes if r.interface in names and address in ip_network(r.prefix))
    best = max(fits, key=lambda r: (r.prefix_len, -r.metric), default=None)
    return network_of(snapshot, best) if best is not None else None


def usable_route(host: Host, snapshot: Snapshot) -> UsableRoute | None:
    """Return the first route that the host's next connection may take, or None."""
    return next(usable_routes(host, snapshot), None)


def usable_routes(host: Host, snapshot: Snapshot) -> Iterator[UsableRoute]:
    """Yield the routes that the next connection may take: to any known address of the host, in either family.

    A name may have more addresses than the known ones. So for a name, also yield the best usable default route of each
    family.
    """
    for lookup in next_lookups(host):
        route = snapshot.matched.get(lookup)
        if route is None or not _in_scope(lookup.peer, route.source):
            continue
        if usable_interface(snapshot, route.interface, host.reached.interfaces):
            yield usable(snapshot, route)
    target = _target(host)
    if target is not None and is_address(target):
        return
    if not host.addresses and (learned := _learned_route(host, snapshot)) is not None:
        yield usable(snapshot, learned)
        return
    families = set[bool]()
    for route in snapshot.default_routes:
        family = ":" in route.prefix
        if family not in families and usable_interface(snapshot, route.interface, host.reached.interfaces):
            families.add(family)
            yield usable(snapshot, route)


def _learned_route(host: Host, snapshot: Snapshot) -> Route | None:
    """Return the route into the learned VPN for a host that has no known address.

    Such a host is behind a jump host that has a name and was reached through the VPN.
    """
    if host.reached.learned_vpn is None or not usable_interface(snapshot, host.reached.learned_vpn):
        return None
    routes = [r for r in snapshot.routes if r.interface == host.reached.learned_vpn]
    return next((r for r in routes if host.reached.at(network_of(snapshot, r))), None)


def _in_scope(peer: str, source: str | None) -> bool:
    """Report whether answers from `peer` can reach the address `source`.

    While an interface's global IPv6 addresses are tentative, the kernel sends from the link-local address. Routers do
    not forward packets from a link-local address (RFC 4291, 2.5.6).
    """
    return source is None or not _is_link_local_6(source) or _is_link_local_6(peer)


@lru_cache(maxsize=1024)
def _is_link_local_6(ip: str) -> bool:
    address = ip_address(ip.partition("%")[0])
    return address.version == 6 and address.is_link_local


def usable(snapshot: Snapshot, route: Route) -> UsableRoute:
    """Return a route as that of a new connection."""
    interface = snapshot.interface(route.interface)
    source = route.source or (first_address(interface, route) if interface is not None else None)
    return UsableRoute(route.interface, source, network_of(snapshot, route))


def next_lookups(host: Host) -> tuple[Lookup, ...]:
    """Return the route look-ups on which the next connection of a host depends."""
    target = _target(host)
    if target is not None and is_address(target):
        return (_lookup(target),)
    return tuple(_lookup(ip) for ip in host.addresses)


def master_lookup(master: Master) -> Lookup | None:
    """Return the look-up of the route that the packets of a living master take, or None if its peer is unknown."""
    if master.peer is None:
        return None
    return _lookup(master.peer, master.local, master.bound)


def path_is_known(master: Master, snapshot: Snapshot) -> bool:
    """Report whether this snapshot shows the path of a master. Its route may not have been looked up yet."""
    lookup = master_lookup(master)
    return bool(snapshot.interfaces) if lookup is None else lookup in snapshot.matched


def path_of(master: Master, snapshot: Snapshot) -> MasterPath:
    """Return the path of a master in this snapshot.

    If the master's TCP connection is unknown, use the best default route.
    """
    others = frozenset(ip for ip in master.other_locals if snapshot.has_address(ip.partition("%")[0]))
    lookup = master_lookup(master)
    if lookup is None:
        out = underlay(snapshot)
        return MasterPath(True, out is not None, out and out[0], None, out and out[1], others=others)
    local = lookup.local
    if local is not None and not snapshot.has_address(local.partition("%")[0]):
        return MasterPath(present=False)
    mine = [(i.name, a) for i in snapshot.interfaces for a in i.addresses if a.ip == local]
    bearer = mine[0][0] if mine else None
    tentative = any(a.tentative for _, a in mine)
    route = snapshot.matched.get(lookup)
    if route is None:
        return MasterPath(present=True, tentative=tentative, bearer=bearer, others=others)
    chosen = snapshot.matched.get(_lookup(lookup.peer))
    # Existing connections may still send from a deprecated address. Only new connections avoid such an address.
    deprecated = any(a.deprecated for _, a in mine)
    differs = chosen is not None and chosen.source is not None and chosen.source != local and not deprecated
    if beside_tunnel(master, snapshot):  # the agent mutes it, so its path is that of the tunnel
        route = chosen or route
    elif master.bound is not None:  # it does not follow the routes of new connections
        differs = False
    return MasterPath(
        True,
        snapshot.is_up(route.interface),
        route.interface,
        route.prefix,
        route.gateway,
        differs,
        tentative,
        bearer,
        others,
        _bearer_network(snapshot, bearer, local) if bearer not in {None, route.interface} else None,
    )


def beside_tunnel(master: Master, snapshot: Snapshot) -> bool:
    """Report whether the agent bound a master to an interface, and a tunnel carries new connections to its server."""
    if not master.spare or master.bound is None or master.peer is None:
        return False
    return leads_into_tunnel(snapshot, master.peer)


def leads_into_tunnel(snapshot: Snapshot, peer: str) -> bool:
    """Report whether a tunnel carries new connections to this address."""
    route = snapshot.matched.get(_lookup(peer))
    interface = snapshot.interface(route.interface) if route is not None else None
    return interface is not None and interface.kind == "vpn" and interface.up


def _bearer_network(snapshot: Snapshot, bearer: str | None, local: str | None) -> Network | None:
    """Return the network of the interface `bearer`, which has the address `local`.

    Return None if the interface has no default route in the family of that address.
    """
    six = local is not None and ":" in local
    own = (r for r in snapshot.default_routes if r.interface == bearer and (":" in r.prefix) == six)
    route = next(own, None)
    return network_of(snapshot, route) if route is not None else None


def lookups(hosts: Iterable[Host], snapshot: Snapshot = _NOTHING) -> frozenset[Lookup]:
    """Return every look-up that a snapshot must answer for these hosts.

    `snapshot` is the last one. It shows the interfaces on which a host may have a spare master.
    """
    wanted: set[Lookup] = set()
    for host in hosts:
        wanted.update(next_lookups(host))
        master = host.master
        if master is not None and master.peer is not None:
            wanted.add(route_lookup(master.peer))
            wanted.add(_lookup(master.peer, master.local, master.bound))
            if host.wish.standby:
                wanted.update(
                    route_lookup(master.peer, face.name)
                    for face in snapshot.interfaces
                    if face.kind == "physical" and face.up
                )
    return frozenset(wanted)


def route_lookup(peer: str, interface: str | None = None) -> Lookup:
    """Return the look-up of the route for a new connection to `peer`, through this interface only if one is given."""
    return _lookup(peer, None, interface)


@lru_cache(maxsize=4096)  # each decision needs the same few look-ups
def _lookup(peer: str, local: str | None = None, interface: str | None = None) -> Lookup:
    ip, _, scope = peer.partition("%")
    return Lookup(ip, local.partition("%")[0] if local else None, scope or interface)


def _target(host: Host) -> str | None:
    if host.hop is not None:
        return host.hop.hostname
    if host.resolved is not None and host.resolved.proxy_command is None:
        return host.resolved.hostname
    return host.master.peer if host.master is not None else None


def _bears_default(snapshot: Snapshot, name: str) -> bool:
    return any(r.prefix_len == 0 and r.interface == name for r in snapshot.routes)
