"""Read the whole network state of a Linux machine from the kernel, in well under a millisecond."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

from trayagent.core.facts.network import Address, Interface, Lookup, Route, Snapshot
from trayagent.net.linux_interface_kinds import kinds, lower
from trayagent.net.linux_wired import is_wired
from trayagent.netlink import rtnetlink as rt
from trayagent.netlink import rtquery
from trayagent.netlink.channel import NETLINK_ROUTE, Channel
from trayagent.netlink.errors import NetlinkError, means_no_route

_UP = rt.IFF_UP | rt.IFF_RUNNING | rt.IFF_LOWER_UP
_SYS_NET = Path("/sys/class/net")
_Names = Mapping[int, str]


def read(lookups: Iterable[Lookup] = ()) -> Snapshot:
    """Return the current network, with the answers to `lookups`.

    Leave out what vanishes during the reading. Raises NetlinkError only if rtnetlink does not work.
    """
    with Channel(NETLINK_ROUTE) as channel:
        links = rtquery.links(channel)
        addresses = rtquery.addresses(channel)
        entries = rtquery.routes(channel)
        names = {link.index: link.name for link in links}
        matched = {lookup: _match(channel, lookup, names) for lookup in lookups}
        routes = tuple(_routes(entries, names))
        gateways = {(r.interface, r.gateway) for r in (*routes, *matched.values()) if r and r.gateway}
        macs = _macs(rtquery.neighbours(channel), names, gateways) if gateways else {}
    return Snapshot(
        interfaces=tuple(_interfaces(links, addresses, entries)),
        routes=routes,
        matched=matched,
        gateway_macs=macs,
        local_prefixes=_local_prefixes(entries, addresses),
        walls=tuple(_walls(entries)),
    )


def _local_prefixes(entries: list[rt.RouteEntry], addresses: list[rt.Addr]) -> frozenset[str]:
    """Return the local routes that do not belong to an address of an interface (`ip route add local`, 127.0.0.0/8)."""
    own = {address.ip for address in addresses}
    return frozenset(
        f"{e.network}/{e.prefix_len}" for e in entries if rt.is_local(e) and e.network not in own
    )


def _walls(entries: list[rt.RouteEntry]) -> Iterable[Route]:
    """Yield the routes that reject packets. A kernel without IPv6 has one of its own, which has no finite metric."""
    for entry in entries:
        if entry.kind in {rt.RTN_BLACKHOLE, rt.RTN_UNREACHABLE, rt.RTN_PROHIBIT}:
            prefix = f"{entry.network}/{entry.prefix_len}"
            yield Route(prefix, "", metric=entry.metric, table=entry.table)


def _interfaces(
    links: list[rt.Link], addresses: list[rt.Addr], entries: list[rt.RouteEntry]
) -> Iterable[Interface]:
    judged = kinds(links, entries, {link.name for link in links if _has_device(link)})
    borne: dict[int, list[Address]] = {}
    for address in addresses:
        borne.setdefault(address.index, []).append(_address(address))
    for link in links:
        yield Interface(
            index=link.index,
            name=link.name,
            kind=judged[link.index],
            up=link.flags & _UP == _UP,
            addresses=tuple(borne.get(link.index, ())),
            lower=lower(link, links),
            wired=is_wired(link),
        )


def _has_device(link: rt.Link) -> bool:
    """Report whether a link has a hardware device.

    Since Linux 5.14 the kernel's message about the link names the device. On older kernels only sysfs shows it.
    """
    return bool(link.bus_device) or (not link.kind and (_SYS_NET / link.name / "device").exists())


def _address(address: rt.Addr) -> Address:
    return Address(
        ip=address.ip,
        prefix_len=address.prefix_len,
        tentative=bool(address.flags & rt.IFA_F_TENTATIVE),
        deprecated=bool(address.flags & rt.IFA_F_DEPRECATED),
        link_local=ip_address(address.ip).is_link_local,
    )


def _routes(entries: list[rt.RouteEntry], names: _Names) -> list[Route]:
    """Return the unicast routes: IPv4 first, longest prefix first, then table main, then the metric."""

    def rank(entry: rt.RouteEntry) -> tuple[object, ...]:
        other_table = entry.table != rt.RT_TABLE_MAIN
        return (entry.family, -entry.prefix_len, entry.network, other_table, entry.table, entry.metric)

    wanted = (
        e for e in entries if e.kind == rt.RTN_UNICAST and e.table != rt.RT_TABLE_LOCAL and not e.cloned
    )
    return [
        _route(entry, hop, names[hop.index], entry.source)
        for entry in sorted(wanted, key=rank)
        for hop in entry.hops
        if hop.index in names and not hop.dead
    ]


def _route(entry: rt.RouteEntry, hop: rt.NextHop, interface: str, source: str | None) -> Route:
    return Route(
        prefix=f"{entry.network}/{entry.prefix_len}",
        interface=interface,
        gateway=hop.gateway,
        source=source,
        metric=entry.metric,
        table=entry.table,
    )


def _match(channel: Channel, lookup: Lookup, names: _Names) -> Route | None:
    """Return the route to a peer. This takes two queries: for the resolved route, and for its table entry."""
    peer, _, zone = lookup.peer.partition("%")
    scope = lookup.scope or zone
    oif = next((index for index, name in names.items() if name == scope), 0)
    if scope and not oif:
        return None
    try:
        resolved = rtquery.route_to(channel, peer, source=lookup.local, oif=oif)
        entry = rtquery.route_to(channel, peer, source=lookup.local, oif=oif, fib_match=True)
    except NetlinkError as e:
        if means_no_route(e):
            return None
        raise
    # Include routes of type local, which lead to this machine's own addresses.
    usable = (
        resolved.kind in {rt.RTN_UNICAST, rt.RTN_LOCAL} and resolved.hops and resolved.hops[0].index in names
    )
    if not usable:
        return None
    # The kernel's answer has no source if the query named one.
    return _route(entry, resolved.hops[0], names[resolved.hops[0].index], resolved.source or lookup.local)


def _macs(
    neighbours: list[rt.Neighbour], names: _Names, gateways: set[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for one in neighbours:
        with contextlib.suppress(KeyError):  # skip an interface that appeared after the links were read
            key = (names[one.index], one.ip)
            if key in gateways and one.state & rt.NUD_VALID and one.mac:
                found[key] = one.mac
    return found
