"""The network at one moment, what flickered between two moments, and how two networks differ; pure data.

A watcher only *hints* that something happened. The agent then reads a whole `Snapshot` again and compares it with
the last one. A comparison cannot show what flickered between two snapshots, such as a link that lost its carrier for
5 ms or an address that was removed and added again. The hint reports such changes as `Touched`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Literal

from msgspec import Struct, field

Kind = Literal["physical", "virtual", "vpn", "loopback"]
Family = Literal[4, 6]

FULL_TUNNEL_BITS = 3
"""With prefixes of so few bits a VPN carries everything: 0.0.0.0/0, 0.0.0.0/1 and 128.0.0.0/1, or 2000::/3."""


class Address(Struct, frozen=True):
    """One address of an interface; `ip` has no prefix length or scope id."""

    ip: str
    prefix_len: int
    tentative: bool = False
    deprecated: bool = False
    link_local: bool = False

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix_len}"


class Interface(Struct, frozen=True):
    """A network interface; `up` means administratively up *and* with carrier.

    `lower` names the devices below it, if the kernel reports them: a bridge's ports, a VLAN's or macvlan's parent, a
    bond's members. `wired`: it is a cable, and its driver is none of those of phones and modems.
    """

    index: int
    name: str
    kind: Kind
    up: bool
    addresses: tuple[Address, ...] = ()
    lower: tuple[str, ...] = ()
    wired: bool = False


class Route(Struct, frozen=True):
    """A route in the kernel's table, or the route that a look-up matched.

    `prefix` is `network/length`. `gateway` is None for a device route. `source` is the address from which the kernel
    would send, if it is known.
    """

    prefix: str
    interface: str
    gateway: str | None = None
    source: str | None = None
    metric: int = 0
    table: int = 254

    @property
    def prefix_len(self) -> int:
        """The length of the matched prefix in bits."""
        return int(self.prefix.rpartition("/")[2])


class Lookup(Struct, frozen=True):
    """The query "which route leads to `peer` from `local`?"; with `local` None the kernel chooses the source.

    With `scope`, only that interface counts. A link-local peer needs it.
    """

    peer: str
    local: str | None = None
    scope: str | None = None


class Snapshot(Struct, frozen=True, dict=True):
    """The whole network at one moment.

    `routes` are the unicast routes of all tables except `local`, best first within a prefix. `matched` holds the
    results of the requested look-ups; None means no route (including unreachable, blackhole and prohibit routes).
    `gateway_macs` maps (interface, gateway address) to the link-layer address that the kernel knows. An unresolved
    gateway is absent. `carriers` maps each tunnel to the interface that carried it when that was last certain: while
    the machine had its own default route, or when the tunnel came up. The agent copies this mapping from each snapshot
    to the next. `name` is the network's name (connection or SSID), if known. `name_of` is the interface to which the
    name belongs, or None if unknown. `local_prefixes` are the routes of type local whose addresses no interface lists,
    as `network/length`: 127.0.0.0/8, and those of `ip route add local`. `walls` are the routes that reject packets
    (unreachable, blackhole, prohibit), without an interface.
    """

    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    matched: Mapping[Lookup, Route | None] = field(default_factory=dict)
    gateway_macs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    name: str | None = None
    name_of: str | None = None
    carriers: Mapping[str, str] = field(default_factory=dict)
    local_prefixes: frozenset[str] = frozenset()
    walls: tuple[Route, ...] = ()

    # Each decision about a host reads both several times, and a routing table may have thousands of routes.

    @cached_property
    def _by_name(self) -> Mapping[str, Interface]:
        return {i.name: i for i in reversed(self.interfaces)}

    @cached_property
    def default_routes(self) -> tuple[Route, ...]:
        """The default routes whose interface is up, IPv4 first, best metric first; device routes count."""
        found = [r for r in self.routes if r.prefix_len == 0 and self.is_up(r.interface)]
        return tuple(sorted(found, key=lambda r: (":" in r.prefix, r.metric)))

    @cached_property
    def full_tunnel(self) -> bool:
        """Whether a tunnel carries everything, in any routing table."""
        up = {i.name for i in self.interfaces if i.kind == "vpn" and i.up}
        return any(r.prefix_len <= FULL_TUNNEL_BITS and r.interface in up for r in self.routes)

    def name_at(self, interface: str) -> str | None:
        """Return the name of the network on an interface. A cable does not get the name of the Wi-Fi beside it."""
        return self.name if self.name_of in {None, interface} else None

    def interface(self, name: str) -> Interface | None:
        """Return the interface of that name, or None."""
        return self._by_name.get(name)

    def is_up(self, name: str) -> bool:
        """Report whether the interface exists and is up."""
        interface = self._by_name.get(name)
        return interface is not None and interface.up

    def has_address(self, ip: str) -> bool:
        """Report whether the address is this machine's: an interface has it, or a route of type local contains it.

        Tentative and deprecated addresses count.
        """
        if any(a.ip == ip for i in self.interfaces for a in i.addresses):
            return True
        return any(ip_address(ip) in ip_network(prefix) for prefix in self.local_prefixes)


class Touched(Struct, frozen=True):
    """What flickered: changes that the kernel reported, and that the next snapshot may no longer show.

    `links`: names of interfaces that lost or gained carrier, went down or up, appeared or vanished. `addresses`:
    addresses, as text, that were removed (a lifetime refresh is not a removal). `routes`: names of interfaces
    through which a unicast route was removed.
    """

    links: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    lost: bool = False
    """The kernel dropped messages (ENOBUFS): anything may have flickered."""

    def __or__(self, other: Touched) -> Touched:
        return Touched(
            self.links | other.links,
            self.addresses | other.addresses,
            self.routes | other.routes,
            self.lost or other.lost,
        )

    def __bool__(self) -> bool:
        return bool(self.links or self.addresses or self.routes or self.lost)


def family(ip: str) -> Family:
    """Return the address family of a textual address. Raises ValueError for any other text."""
    return 4 if ip_address(ip.partition("%")[0]).version == 4 else 6


class Network(Struct, frozen=True):
    """The network as seen through one interface; `gateway` is a link-layer address, "" while unknown."""

    egress: str
    gateway: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Whether enough is known to distinguish this network from others."""
        return bool(self.gateway or self.name)

    def matches(self, other: Network) -> bool:
        """Report whether both are certainly the same network. If both gateways are known, the names do not count."""
        if self.egress != other.egress:
            return False
        if self.gateway and other.gateway:
            return self.gateway == other.gateway
        return bool(self.name) and self.name == other.name

    def differs(self, other: Network) -> bool:
        """Report whether both networks certainly differ. A fact that is known for only one of them does not count."""
        if self.egress != other.egress:
            return True
        if self.gateway and other.gateway:
            return self.gateway != other.gateway
        return bool(self.name and other.name) and self.name != other.name


class Origin(Struct, frozen=True):
    """The network and the address from which an attempt leaves; both fields are None if no route is known."""

    network: Network | None = None
    source: str | None = None

    def same(self, other: Origin) -> bool:
        """Report whether both are the same network. While the gateway is not resolved, the address decides."""
        if self.network is None or other.network is None:
            return self == other
        if self.network.matches(other.network):
            return True
        unknown = not self.network.differs(other.network)
        return (unknown or self._is_in_tunnel_of(other)) and self.source == other.source

    def _is_in_tunnel_of(self, other: Origin) -> bool:
        """Report whether both leave through the same tunnel, perhaps with different prefixes."""
        if self.network is None or other.network is None:
            return False
        prefixes = "/" in self.network.gateway and "/" in other.network.gateway
        return prefixes and self.network.egress == other.network.egress

    def seen_as_one(self, other: Origin) -> bool:
        """Report whether a server sees both as one client: the same network, or two interfaces behind one gateway.

        The gateway translates the addresses of a cable and of a Wi-Fi to the same public address.
        """
        return self.same(other) or (self.gateway != "" and self.gateway == other.gateway)

    @property
    def gateway(self) -> str:
        """The gateway's link-layer address, or "" if unknown or for a tunnel, which has a prefix instead."""
        gateway = self.network.gateway if self.network is not None else ""
        return "" if "/" in gateway else gateway
