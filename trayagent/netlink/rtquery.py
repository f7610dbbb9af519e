"""Query the kernel's routing: dump its tables, and resolve the route to one peer."""

from __future__ import annotations

import socket
import struct

from trayagent.netlink.channel import Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.rtnetlink import (
    IFADDRMSG,
    IFINFOMSG,
    NDMSG,
    RTA_DST,
    RTA_OIF,
    RTA_SRC,
    RTM_F_FIB_MATCH,
    RTM_F_LOOKUP_TABLE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTMSG,
    Addr,
    Link,
    Neighbour,
    RouteEntry,
    parse_address,
    parse_link,
    parse_neighbour,
    parse_route,
)
from trayagent.netlink.wire import attribute


def links(channel: Channel) -> list[Link]:
    """Return every interface of this network namespace."""
    found = channel.dump(RTM_GETLINK, bytes(IFINFOMSG.size))
    return [parse_link(m.body) for m in found if m.type == RTM_NEWLINK]


def addresses(channel: Channel) -> list[Addr]:
    """Return every IPv4 and IPv6 address."""
    found = (
        parse_address(m.body)
        for m in channel.dump(RTM_GETADDR, bytes(IFADDRMSG.size))
        if m.type == RTM_NEWADDR
    )
    return [a for a in found if a is not None]


def routes(channel: Channel) -> list[RouteEntry]:
    """Return every IPv4 and IPv6 route of all tables, of every type."""
    found = (
        parse_route(m.body) for m in channel.dump(RTM_GETROUTE, bytes(RTMSG.size)) if m.type == RTM_NEWROUTE
    )
    return [r for r in found if r is not None]


def neighbours(channel: Channel) -> list[Neighbour]:
    """Return the entries of the ARP and neighbour discovery tables."""
    found = (
        parse_neighbour(m.body)
        for m in channel.dump(RTM_GETNEIGH, bytes(NDMSG.size))
        if m.type == RTM_NEWNEIGH
    )
    return [n for n in found if n is not None]


def route_to(
    channel: Channel, peer: str, *, source: str | None = None, oif: int = 0, fib_match: bool = False
) -> RouteEntry:
    """Return the route that a packet to `peer` would take now.

    Without `fib_match` it is the resolved route: the chosen interface, gateway and source of a /32 or /128.
    With `fib_match` it is the matching table entry: prefix, metric and table, and every hop of a multipath
    route. Raises NetlinkError; `errors.means_no_route` distinguishes "no route" from other failures.
    """
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    bits = 128 if family == socket.AF_INET6 else 32
    # Without RTM_F_LOOKUP_TABLE, an IPv4 answer always names the table "main", even if another table matched.
    flags = RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE if fib_match else 0
    body = RTMSG.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, flags)
    body += attribute(RTA_DST, socket.inet_pton(family, peer))
    if source:
        body += attribute(RTA_SRC, socket.inet_pton(family, source))
    if oif:
        body += attribute(RTA_OIF, struct.pack("=I", oif))
    entry = parse_route(channel.query(RTM_GETROUTE, body).body)
    if entry is None:
        raise NetlinkError(f"the kernel answered with a route of another family for {peer}")
    return entry
