"""Parse the kernel's messages about links, addresses, routes and neighbours; pure, bytes in.

Source: rtnetlink(7), linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.wire import Attributes, attributes, number, text

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE = 32, 33

IFF_UP, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x40, 0x10000
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 1, 2, 6, 7, 8, 9
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTM_F_CLONED, RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x200, 0x1000, 0x2000
RTNH_F_DEAD = 0x1
NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
TUN_TYPE_TAP = 2

# The network of a default route: here the address means "all", and nothing is bound to it.
_EVERYTHING: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - see the line above

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEXTHOP = struct.Struct("=HBBi")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. `kind` is the driver's own name for it ("" for hardware), `arp_type` an ARPHRD number.

    `parent` is the index of the underlying device (for a veth: its peer), 0 for none. `parent_elsewhere`:
    that index belongs to another network namespace. `carrier_losses` only grows.
    """

    index: int
    name: str
    flags: int
    arp_type: int
    family: int = 0
    kind: str = ""
    parent: int = 0
    parent_elsewhere: bool = False
    master: int = 0
    bus_device: str = ""
    tap: bool = False
    carrier_losses: int = 0


@dataclass(frozen=True, slots=True)
class Addr:
    """One address of the interface `index`; `ip` is the local address, also on a point-to-point link."""

    index: int
    ip: str
    prefix_len: int
    flags: int


@dataclass(frozen=True, slots=True)
class NextHop:
    """One next hop of a route: the interface's index (0 for none) and the gateway, if any."""

    index: int
    gateway: str | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route or the answer to a route query; `family` is AF_INET or AF_INET6, `kind` an RTN_ number."""

    family: int
    network: str
    prefix_len: int
    kind: int
    table: int
    metric: int
    source: str | None
    hops: tuple[NextHop, ...]
    cloned: bool = False
    tos: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The kernel's record of a neighbour: `state` holds its NUD_ bits, `mac` is "" while unresolved."""

    index: int
    ip: str
    mac: str
    state: int


def parse_link(body: bytes) -> Link:
    """Read the body of RTM_NEWLINK or RTM_DELLINK."""
    family, arp_type, index, flags, _ = _head(_LINK, body)
    found = attributes(body, _LINK.size)
    info = attributes(found[18]) if 18 in found else {}
    data = attributes(info[2]) if text(info.get(1)) == "tun" and 2 in info else {}
    return Link(
        index=index,
        name=text(found.get(3)),
        flags=flags,
        arp_type=arp_type,
        family=family,
        kind=text(info.get(1)),
        parent=number(found.get(5)),
        parent_elsewhere=37 in found,
        master=number(found.get(10)),
        bus_device=text(found.get(56)),
        tap=number(data.get(3)) == TUN_TYPE_TAP,
        carrier_losses=number(found.get(48)),
    )


def parse_address(body: bytes) -> Addr | None:
    """Read the body of RTM_NEWADDR or RTM_DELADDR; None for a family that is not IP."""
    family, prefix_len, flags, _, index = _head(_ADDRESS, body)
    found = attributes(body, _ADDRESS.size)
    raw = found.get(2) or found.get(1)
    if family not in {socket.AF_INET, socket.AF_INET6} or raw is None:
        return None
    return Addr(index, socket.inet_ntop(family, raw), prefix_len, number(found.get(8), flags))


def parse_route(body: bytes) -> RouteEntry | None:
    """Read the body of RTM_NEWROUTE or RTM_DELROUTE; None for a family that is not IP."""
    family, length, _, tos, table, _, _, kind, flags = _head(_ROUTE, body)
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    found = attributes(body, _ROUTE.size)
    network = socket.inet_ntop(family, found[1]) if 1 in found else _EVERYTHING[family]
    return RouteEntry(
        family=family,
        network=network,
        prefix_len=length,
        kind=kind,
        table=number(found.get(15), table),
        metric=number(found.get(6)),
        source=socket.inet_ntop(family, found[7]) if 7 in found else None,
        hops=_hops(family, found, flags),
        cloned=bool(flags & RTM_F_CLONED),
        tos=tos,
    )


def parse_neighbour(body: bytes) -> Neighbour | None:
    """Read the body of RTM_NEWNEIGH; None for a family that is not IP."""
    family, index, state, _, _ = _head(_NEIGHBOUR, body)
    found = attributes(body, _NEIGHBOUR.size)
    if family not in {socket.AF_INET, socket.AF_INET6} or 1 not in found:
        return None
    return Neighbour(index, socket.inet_ntop(family, found[1]), found.get(2, b"").hex(":"), state)


def _hops(family: int, found: Attributes, flags: int) -> tuple[NextHop, ...]:
    if 9 in found:
        return tuple(_multipath(family, found[9]))
    if 4 not in found:
        return ()
    return (NextHop(number(found[4]), _gateway(family, found), bool(flags & RTNH_F_DEAD)),)


def _multipath(family: int, data: bytes) -> list[NextHop]:
    hops: list[NextHop] = []
    at = 0
    while at + _NEXTHOP.size <= len(data):
        length, flags, _, index = _NEXTHOP.unpack_from(data, at)
        if length < _NEXTHOP.size or at + length > len(data):
            raise NetlinkError(f"a next hop claims {length} bytes but has {len(data) - at}")
        inner = attributes(data[at + _NEXTHOP.size : at + length])
        hops.append(NextHop(index, _gateway(family, inner), bool(flags & RTNH_F_DEAD)))
        at += (length + 3) & ~3
    return hops


def _gateway(family: int, found: Attributes) -> str | None:
    """Return the gateway; an IPv4 route may have an IPv6 gateway (RFC 5549, attribute RTA_VIA)."""
    if 5 in found:
        return socket.inet_ntop(family, found[5])
    if 18 in found:
        return socket.inet_ntop(number(found[18][:2]), found[18][2:])
    return None


def _head(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < layout.size:
        raise NetlinkError(f"a netlink message has {len(body)} bytes, fewer than its header's {layout.size}")
    return layout.unpack_from(body)
