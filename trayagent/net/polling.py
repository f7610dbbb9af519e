"""Poll the network every few seconds as a portable fallback, and find the route to a peer with a UDP socket.

Polling detects less than the kernel's notifications do. It reads no link state, so an interface with an address counts
as up. It finds only default routes and those of the interfaces' own networks. It finds no MAC addresses of neighbours,
and no flicker between two polls. netifaces does not report a default route without a gateway (WireGuard, ppp), but the
UDP socket finds such a route.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface
from typing import Any

import netifaces

from trayagent.core.facts.network import Address, Interface, Kind, Lookup, Route, Snapshot, Touched, family
from trayagent.net.hints import Hint, NetworkTouched

INTERVAL_S = 5.0

_VPN_NAMES = ("tun", "tap", "utun", "wg", "ppp", "ipsec", "gif", "tailscale", "zt")
_VIRTUAL_NAMES = ("docker", "veth", "br-", "virbr", "vmnet", "vboxnet", "bridge", "awdl", "llw", "anpi", "ap")
_ANYTHING = 9  # the discard port: connecting a UDP socket sends nothing


class Polling:
    """Compares the interfaces' addresses and the default routes every `interval_s` seconds, with a timer."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None
        self._last = Snapshot()
        self._hint: Callable[[Hint], None] = lambda _: None

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to poll on the running loop."""
        self._hint, self._last = hint, read()
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._compare)

    def close(self) -> None:
        """Stop polling."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _compare(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._compare)
        now, before = read(), self._last
        self._last = now
        if (now.interfaces, now.routes) != (before.interfaces, before.routes):
            self._hint(NetworkTouched(touched_between(before, now)))


def touched_between(before: Snapshot, now: Snapshot) -> Touched:
    """Return the interfaces that appeared or vanished between two polls, and the addresses and routes that vanished."""
    return Touched(
        links=frozenset({i.name for i in before.interfaces} ^ {i.name for i in now.interfaces}),
        addresses=frozenset(_ips(before) - _ips(now)),
        routes=frozenset(r.interface for r in before.routes if r not in now.routes),
    )


def read(lookups: Iterable[Lookup] = ()) -> Snapshot:
    """Return the parts of the network that this module can read."""
    interfaces = tuple(_interfaces())
    defaults = tuple(_default_routes())
    matched = {lookup: _match(lookup, interfaces, defaults) for lookup in lookups}
    return Snapshot(interfaces=interfaces, routes=defaults, matched=matched)


def kind_of_name(name: str) -> Kind:
    """Guess the kind of an interface from its name."""
    if name.rstrip("0123456789") == "lo":
        return "loopback"
    if name.startswith(_VPN_NAMES):
        return "vpn"
    return "virtual" if name.startswith(_VIRTUAL_NAMES) else "physical"


def _ips(snapshot: Snapshot) -> set[str]:
    return {a.ip for i in snapshot.interfaces for a in i.addresses}


def _interfaces() -> Iterable[Interface]:
    for index, name in socket.if_nameindex():
        # netifaces raises ValueError if the interface vanishes between the two calls.
        with contextlib.suppress(ValueError):
            addresses = tuple(_addresses(netifaces.ifaddresses(name)))
            yield Interface(index, name, kind_of_name(name), up=bool(addresses), addresses=addresses)


def _addresses(found: dict[int, list[dict[str, str]]]) -> Iterable[Address]:
    for one in (*found.get(socket.AF_INET, ()), *found.get(socket.AF_INET6, ())):
        ip = one.get("addr", "").partition("%")[0]
        if not ip:
            continue
        # An IPv6 mask is "ffff:…::/64", an IPv4 mask "255.255.255.0"; a tunnel has none.
        mask = one.get("mask", one.get("netmask", "")).rpartition("/")[2]
        prefix_len = _prefix_len(ip, mask)
        yield Address(ip, prefix_len, link_local=ip_address(ip).is_link_local)


def _prefix_len(ip: str, mask: str) -> int:
    whole = 128 if ":" in ip else 32
    if ":" in mask:
        return int(ip_address(mask)).bit_count()
    with contextlib.suppress(ValueError):
        return ip_interface(f"{ip}/{mask or whole}").network.prefixlen
    return whole


def _default_routes() -> Iterable[Route]:
    # The value of each address family is a list. Only the value of the key "default" is a mapping.
    gateways: dict[Any, Any] = dict(netifaces.gateways())
    for which, prefix in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
        for gateway, interface, *_ in gateways.get(which, ()):
            yield Route(prefix, interface, gateway=gateway.partition("%")[0])


def _match(lookup: Lookup, interfaces: tuple[Interface, ...], defaults: tuple[Route, ...]) -> Route | None:
    source = _source(lookup)
    bearer = next((i for i in interfaces if source in {a.ip for a in i.addresses}), None)
    if source is None or bearer is None:
        return None
    peer = ip_address(lookup.peer.partition("%")[0])
    near = (ip_interface(str(a)).network for a in bearer.addresses if family(a.ip) == peer.version)
    on_link = max((n for n in near if peer in n), key=lambda n: n.prefixlen, default=None)
    if on_link is not None:
        return Route(str(on_link), bearer.name, source=source)
    default = "0.0.0.0/0" if peer.version == 4 else "::/0"
    via = next((r.gateway for r in defaults if r.interface == bearer.name and r.prefix == default), None)
    return Route(default, bearer.name, gateway=via, source=source)


def _source(lookup: Lookup) -> str | None:
    """Return the source address that a packet to the peer would have, None without a route."""
    peer, _, zone = lookup.peer.partition("%")
    which = socket.AF_INET6 if family(peer) == 6 else socket.AF_INET
    try:
        scope = lookup.scope or zone
        end = (peer, _ANYTHING, 0, socket.if_nametoindex(scope) if scope else 0)
        with socket.socket(which, socket.SOCK_DGRAM) as probe:
            if lookup.local:
                probe.bind((lookup.local, 0, *end[2:])[: 4 if which == socket.AF_INET6 else 2])
            probe.connect(end if which == socket.AF_INET6 else end[:2])
            return str(probe.getsockname()[0]).partition("%")[0]
    except OSError:
        return None
