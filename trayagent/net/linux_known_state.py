"""Track what the kernel's notifications have reported, and what a new notification changes.

Pure except for the stored state.

The kernel sends messages without news: a Wi-Fi scan causes NEWLINK, and each router advertisement causes NEWADDR and
NEWROUTE for existing entries. The kernel also omits messages. An IPv4 route that vanishes with its interface or its
source address causes no DELROUTE (fib_frontend.c, fib_disable_ip and fib_sync_down_addr). A replaced route causes only
a NEWROUTE with NLM_F_REPLACE. So this module keeps the known state and compares every message with it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from trayagent.core.facts.network import Touched
from trayagent.netlink import rtnetlink as rt
from trayagent.netlink.wire import NLM_F_REPLACE, Message

_ALIVE = rt.IFF_UP | rt.IFF_RUNNING | rt.IFF_LOWER_UP
_SHOWN_ADDRESS_FLAGS = rt.IFA_F_TENTATIVE | rt.IFA_F_DEPRECATED | rt.IFA_F_DADFAILED
_IGNORED_ROUTES = {3, 4, 5}  # broadcast, anycast and multicast routes come and go with an address
_NOTHING = Touched()


class _RouteHop(NamedTuple):
    """One next hop of a route; the first four fields identify the route."""

    prefix: tuple[int, str, int, int]  # family, network, length, table
    metric: int
    tos: int
    kind: int
    oif: int
    gateway: str | None
    source: str | None


@dataclass(slots=True)
class Known:
    """The known links, addresses and next hops, each as in the last message about it.

    `apply` returns None for a message without news, otherwise what the message touched. That may be empty.
    """

    links: dict[int, rt.Link] = field(default_factory=dict)
    addresses: dict[tuple[int, str, int], int] = field(default_factory=dict)
    hops: set[_RouteHop] = field(default_factory=set)

    def seed(
        self, links: Iterable[rt.Link], addresses: Iterable[rt.Addr], routes: Iterable[rt.RouteEntry]
    ) -> None:
        """Replace all entries by those of a dump."""
        self.links = {link.index: link for link in links}
        self.addresses = {(a.index, a.ip, a.prefix_len): a.flags & _SHOWN_ADDRESS_FLAGS for a in addresses}
        self.hops = {hop for route in routes if self._matters(route) for hop in _route_hops(route)}

    def apply(self, message: Message) -> Touched | None:
        """Process one notification."""
        match message.type:
            case rt.RTM_NEWLINK:
                return self._link_is(rt.parse_link(message.body))
            case rt.RTM_DELLINK:
                return self._link_gone(rt.parse_link(message.body))
            case rt.RTM_NEWADDR | rt.RTM_DELADDR:
                address = rt.parse_address(message.body)
                if address is None:
                    return None
                return (
                    self._address_is(address)
                    if message.type == rt.RTM_NEWADDR
                    else self._address_gone(address)
                )
            case rt.RTM_NEWROUTE | rt.RTM_DELROUTE:
                route = rt.parse_route(message.body)
                if route is None or not self._matters(route):
                    return None
                if message.type == rt.RTM_DELROUTE and rt.is_local(route):
                    return self._forget(self.hops.intersection(_route_hops(route)))
                if message.type == rt.RTM_DELROUTE:
                    return self._forget(
                        set(_route_hops(route))
                    )  # report a removed route even if the route was never seen
                return self._route_is(route, replaces=bool(message.flags & NLM_F_REPLACE))
            case rt.RTM_NEWRULE | rt.RTM_DELRULE:
                return _NOTHING  # the choice of the table changed, but no route was touched
        return None

    def _matters(self, route: rt.RouteEntry) -> bool:
        """Report whether a route can decide where a packet goes, or which addresses are this machine's.

        The local route of an interface's address does not count, because it comes and goes with the address.
        """
        if rt.is_local(route):
            return not any(ip == route.network for _, ip, _ in self.addresses)
        return route.table != rt.RT_TABLE_LOCAL and not route.cloned and route.kind not in _IGNORED_ROUTES

    def _link_is(self, link: rt.Link) -> Touched | None:
        if link.family != socket.AF_UNSPEC:
            return None  # the kernel's bridge or IPv6 code reports its own settings of the link
        old = self.links.get(link.index)
        self.links[link.index] = link
        if old is None:
            return Touched(links=frozenset({link.name}))
        if old.name != link.name:
            return Touched(links=frozenset({old.name, link.name}))
        flickered = link.carrier_losses != old.carrier_losses
        if (old.flags ^ link.flags) & _ALIVE or flickered:
            touched = Touched(links=frozenset({link.name}))
            return touched if link.flags & rt.IFF_UP else touched | self._forget_ipv4(link.index)
        if (old.master, old.parent) != (link.master, link.parent):
            return _NOTHING
        return None

    def _link_gone(self, link: rt.Link) -> Touched | None:
        if link.family != socket.AF_UNSPEC or self.links.pop(link.index, None) is None:
            return None  # a port that leaves its bridge causes a DELLINK of the family AF_BRIDGE
        touched = self._forget_where(lambda hop: hop.oif == link.index, link.name)
        return Touched(links=frozenset({link.name})) | touched

    def _address_is(self, address: rt.Addr) -> Touched | None:
        key, flags = (address.index, address.ip, address.prefix_len), address.flags & _SHOWN_ADDRESS_FLAGS
        if self.addresses.get(key) == flags:
            return None
        self.addresses[key] = flags
        return _NOTHING

    def _address_gone(self, address: rt.Addr) -> Touched:
        self.addresses.pop((address.index, address.ip, address.prefix_len), None)
        touched = Touched(addresses=frozenset({address.ip}))
        if ":" in address.ip:
            return touched
        if not any(index == address.index and ":" not in ip for index, ip, _ in self.addresses):
            return touched | self._forget_ipv4(address.index)
        return touched | self._forget_where(lambda hop: hop.source == address.ip)

    def _route_is(self, route: rt.RouteEntry, *, replaces: bool) -> Touched | None:
        hops = set(_route_hops(route))
        new = hops - self.hops
        touched = None
        if replaces and hops:
            like = next(iter(hops))
            old = {w for w in self.hops if w[:3] == like[:3]} - hops
            touched = self._forget(old)
        self.hops |= hops
        return touched if not new else touched or _NOTHING

    def _forget_ipv4(self, index: int) -> Touched:
        return self._forget_where(lambda hop: hop.oif == index and hop.prefix[0] == socket.AF_INET)

    def _forget_where(self, gone: Callable[[_RouteHop], bool], name: str = "") -> Touched:
        return self._forget({hop for hop in self.hops if gone(hop)}, name) or _NOTHING

    def _forget(self, gone: set[_RouteHop], name: str = "") -> Touched | None:
        """Drop these next hops, and return the interfaces that lost a unicast next hop.

        Return None if `gone` is empty.
        """
        if not gone:
            return None
        self.hops -= gone
        named = {name or self._name(w.oif) for w in gone if w.kind == rt.RTN_UNICAST and w.oif}
        return Touched(routes=frozenset(named - {""}))

    def _name(self, index: int) -> str:
        return self.links[index].name if index in self.links else ""


def _route_hops(route: rt.RouteEntry) -> list[_RouteHop]:
    prefix = (route.family, route.network, route.prefix_len, route.table)
    hops = route.hops or (rt.NextHop(0),)
    return [
        _RouteHop(prefix, route.metric, route.tos, route.kind, h.index, h.gateway, route.source) for h in hops
    ]
