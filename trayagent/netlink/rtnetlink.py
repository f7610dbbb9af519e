"""Parse the kernel's messages about links, addresses, routes and neighbours; pure, bytes in.

Source: rtnetlink(7), linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h.
"""

from __future__ import annotations

import socket
import struct

from msgspec import Struct

from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.wire import Attributes, attributes, number, text

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE = 32, 33
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE = 0x1, 0x10, 0x40, 0x80
RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x100, 0x400
RTMGRP_IPV6_RULE = 1 << (19 - 1)  # the mask of group 19, RTNLGRP_IPV6_RULE

IFF_UP, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x40, 0x10000
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 1, 2, 6, 7, 8, 9
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTM_F_CLONED, RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x200, 0x1000, 0x2000
RTNH_F_DEAD = 0x1
NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_PERMANENT = 0x02, 0x04, 0x08, 0x10, 0x80
NUD_VALID = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT
TUN_TYPE_TAP = 2

IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 3, 5, 10, 18
IFLA_LINK_NETNSID, IFLA_CARRIER_DOWN_COUNT, IFLA_PARENT_DEV_NAME = 37, 48, 56
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2  # within IFLA_LINKINFO
IFLA_TUN_TYPE = 3  # within IFLA_INFO_DATA of a tun device
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 2, 4, 5, 6, 7
RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 9, 15, 18
NDA_DST, NDA_LLADDR = 1, 2

# The network of a default route. Here this address means "all"; no socket is bound to it.
_EVERYTHING: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - see above

# The headers of the messages, with the names of the kernel's structs.
IFINFOMSG = struct.Struct("=BxHiII")
IFADDRMSG = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
RTNEXTHOP = struct.Struct("=HBBi")
NDMSG = struct.Struct("=BxxxiHBB")


class Link(Struct, frozen=True):
    """One interface. `kind` is the driver's name for this type of link ("" for hardware), `arp_type` an ARPHRD number.

    `parent` is the index of the underlying device (for a veth: its peer), 0 for none. `parent_elsewhere`: that index
    belongs to another network namespace. `carrier_losses` never decreases.
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


class Addr(Struct, frozen=True):
    """One address of the interface `index`; `ip` is the local address, also on a point-to-point link."""

    index: int
    ip: str
    prefix_len: int
    flags: int


class NextHop(Struct, frozen=True):
    """One next hop of a route: the interface's index (0 for none) and the gateway, if any."""

    index: int
    gateway: str | None = None
    dead: bool = False


class RouteEntry(Struct, frozen=True):
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


class Neighbour(Struct, frozen=True):
    """The kernel's record of a neighbour: `state` holds its NUD_ bits, `mac` is "" while unresolved."""

    index: int
    ip: str
    mac: str
    state: int


def parse_link(body: bytes) -> Link:
    """Return the link in the body of RTM_NEWLINK or RTM_DELLINK."""
    family, arp_type, index, flags, _ = _head(IFINFOMSG, body)
    found = attributes(body, IFINFOMSG.size)
    info = attributes(found[IFLA_LINKINFO]) if IFLA_LINKINFO in found else {}
    kind = text(info.get(IFLA_INFO_KIND))
    data = attributes(info[IFLA_INFO_DATA]) if kind == "tun" and IFLA_INFO_DATA in info else {}
    return Link(
        index=index,
        name=text(found.get(IFLA_IFNAME)),
        flags=flags,
        arp_type=arp_type,
        family=family,
        kind=kind,
        parent=number(found.get(IFLA_LINK)),
        parent_elsewhere=IFLA_LINK_NETNSID in found,
        master=number(found.get(IFLA_MASTER)),
        bus_device=text(found.get(IFLA_PARENT_DEV_NAME)),
        tap=number(data.get(IFLA_TUN_TYPE)) == TUN_TYPE_TAP,
        carrier_losses=number(found.get(IFLA_CARRIER_DOWN_COUNT)),
    )


def parse_address(body: bytes) -> Addr | None:
    """Return the address in the body of RTM_NEWADDR or RTM_DELADDR, or None for a family that is not IP."""
    family, prefix_len, flags, _, index = _head(IFADDRMSG, body)
    found = attributes(body, IFADDRMSG.size)
    raw = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    if family not in {socket.AF_INET, socket.AF_INET6} or raw is None:
        return None
    return Addr(index, _ip(family, raw), prefix_len, number(found.get(IFA_FLAGS), flags))


def parse_route(body: bytes) -> RouteEntry | None:
    """Return the route in the body of RTM_NEWROUTE or RTM_DELROUTE, or None for a family that is not IP."""
    family, length, _, tos, table, _, _, kind, flags = _head(RTMSG, body)
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    found = attributes(body, RTMSG.size)
    network = _ip(family, found[RTA_DST]) if RTA_DST in found else _EVERYTHING[family]
    return RouteEntry(
        family=family,
        network=network,
        prefix_len=length,
        kind=kind,
        table=number(found.get(RTA_TABLE), table),
        metric=number(found.get(RTA_PRIORITY)),
        source=_ip(family, found[RTA_PREFSRC]) if RTA_PREFSRC in found else None,
        hops=_hops(family, found, flags),
        cloned=bool(flags & RTM_F_CLONED),
        tos=tos,
    )


def is_local(route: RouteEntry) -> bool:
    """Report whether a route makes its addresses this machine's own.

    Local routes of other tables serve transparent proxies, which use them for marked packets only.
    """
    return route.kind == RTN_LOCAL and route.table == RT_TABLE_LOCAL


def parse_neighbour(body: bytes) -> Neighbour | None:
    """Return the neighbour in the body of RTM_NEWNEIGH, or None for a family that is not IP."""
    family, index, state, _, _ = _head(NDMSG, body)
    found = attributes(body, NDMSG.size)
    if family not in {socket.AF_INET, socket.AF_INET6} or NDA_DST not in found:
        return None
    mac = found.get(NDA_LLADDR, b"").hex(":")
    return Neighbour(index, _ip(family, found[NDA_DST]), mac, state)


def _hops(family: int, found: Attributes, flags: int) -> tuple[NextHop, ...]:
    if RTA_MULTIPATH in found:
        return tuple(_multipath(family, found[RTA_MULTIPATH]))
    if RTA_OIF not in found:
        return ()
    return (NextHop(number(found[RTA_OIF]), _gateway(family, found), bool(flags & RTNH_F_DEAD)),)


def _multipath(family: int, data: bytes) -> list[NextHop]:
    hops: list[NextHop] = []
    at = 0
    while at + RTNEXTHOP.size <= len(data):
        length, flags, _, index = RTNEXTHOP.unpack_from(data, at)
        if length < RTNEXTHOP.size or at + length > len(data):
            raise NetlinkError(f"a next hop claims {length} bytes but has {len(data) - at}")
        inner = attributes(data[at + RTNEXTHOP.size : at + length])
        hops.append(NextHop(index, _gateway(family, inner), bool(flags & RTNH_F_DEAD)))
        at += (length + 3) & ~3
    return hops


def _gateway(family: int, found: Attributes) -> str | None:
    """Return the gateway; an IPv4 route may have an IPv6 gateway (RFC 5549, attribute RTA_VIA)."""
    if RTA_GATEWAY in found:
        return _ip(family, found[RTA_GATEWAY])
    if RTA_VIA in found:
        return _ip(number(found[RTA_VIA][:2]), found[RTA_VIA][2:])
    return None


def _ip(family: int, raw: bytes) -> str:
    try:
        return socket.inet_ntop(family, raw)
    except (OSError, ValueError) as error:
        raise NetlinkError(f"an address of family {family} has {len(raw)} bytes") from error


def _head(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < layout.size:
        raise NetlinkError(f"a netlink message has {len(body)} bytes, fewer than its header's {layout.size}")
    return layout.unpack_from(body)
