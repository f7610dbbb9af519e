"""Networks for the stories: small, immutable, combined with `+`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address, ip_network

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.network import Address, Interface, Kind, Lookup, Route, Snapshot


class Scene(Struct, frozen=True):
    """The networks to which a laptop is connected; `label` is its name in the transcript."""

    label: str = "nothing"
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    macs: tuple[tuple[str, str, str], ...] = ()
    name: str | None = None
    name_of: str | None = None
    rule_from: str | None = None  # the kernel's only rule: these routes are for packets from this address

    def __add__(self, other: Scene) -> Scene:
        mine = tuple(i for i in self.interfaces if i.name not in {o.name for o in other.interfaces})
        return Scene(
            other.label if self.label == "nothing" else f"{self.label} + {other.label}",
            mine + other.interfaces,
            self.routes + other.routes,
            self.macs + other.macs,
            other.name or self.name,
            other.name_of or self.name_of,
        )

    def called(self, label: str) -> Scene:
        """Return the same scene under another label."""
        return replace(self, label=label)

    def named(self, name: str | None) -> Scene:
        """Return the same scene with a known network name."""
        return replace(self, name=name)

    def without_mac(self) -> Scene:
        """Return the same scene before the gateway's link-layer address is resolved."""
        return replace(self, macs=(), label=f"{self.label}, gateway unresolved")

    def routed_from(self, local: str) -> Scene:
        """Return the same scene with a rule of the kernel that routes only packets from one address."""
        return replace(self, rule_from=local, label=f"{self.label}, routed from {local}")

    def down(self, name: str) -> Scene:
        """Return the same scene with an interface that lost its carrier. Its addresses and routes remain."""
        faces = tuple(replace(i, up=False) if i.name == name else i for i in self.interfaces)
        return replace(self, interfaces=faces, label=f"{self.label}, {name} without carrier")

    def with_address(
        self, name: str, text: str, *, deprecated: bool = False, tentative: bool = False, first: bool = False
    ) -> Scene:
        """Return the same scene with one more address, or with another flag on an address that it has."""
        new = replace(_address(text, deprecated=deprecated), tentative=tentative)

        def changed(i: Interface) -> Interface:
            rest = tuple(a for a in i.addresses if a.ip != new.ip)
            return replace(i, addresses=(new, *rest) if first else (*rest, new))

        faces = tuple(changed(i) if i.name == name else i for i in self.interfaces)
        flags = " deprecated" * deprecated + " tentative" * tentative
        return replace(self, interfaces=faces, label=f"{self.label}, {text}{flags}")

    def snapshot(self, lookups: Iterable[Lookup]) -> Snapshot:
        """Return the snapshot that the kernel would give."""
        macs = {(i, g): mac for i, g, mac in self.macs}
        asked = {lookup: self._match(lookup) for lookup in lookups}
        return Snapshot(self.interfaces, self.routes, asked, macs, self.name, self.name_of)

    def _match(self, lookup: Lookup) -> Route | None:
        bears = {a.ip for i in self.interfaces for a in i.addresses}
        if lookup.local is not None and lookup.local not in bears:
            return None
        if self.rule_from not in {None, lookup.local}:
            return None
        fits = [r for r in self.routes if _covers(r.prefix, lookup.peer)]
        fits = [r for r in fits if lookup.scope in {None, r.interface}]
        if not fits:
            return None
        best = min(fits, key=lambda r: (-r.prefix_len, r.metric))
        return replace(best, source=lookup.local or best.source)


@cache
def _covers(prefix: str, ip: str) -> bool:
    net, peer = ip_network(prefix), ip_address(ip)
    return net.version == peer.version and peer in net


def _address(text: str, *, deprecated: bool = False) -> Address:
    ip, _, length = text.partition("/")
    return Address(ip, int(length or 24), deprecated=deprecated, link_local=ip.startswith("fe80:"))


def nic(name: str, *addresses: str, kind: Kind = "physical", up: bool = True) -> Interface:
    """Return an interface."""
    return Interface(sum(map(ord, name)), name, kind, up, tuple(map(_address, addresses)))


def lan(
    label: str,
    interface: str,
    address: str,
    *,
    gateway: str,
    mac: str,
    metric: int = 600,
    name: str | None = None,
    default: bool = True,
) -> Scene:
    """Return an IPv4 or IPv6 network on one interface, with the machine's address (`ip/length`) in it."""
    ip, _, length = address.partition("/")
    subnet = str(ip_network(f"{ip}/{length}", strict=False))
    everywhere = "::/0" if ":" in ip else "0.0.0.0/0"
    routes: tuple[Route, ...] = (Route(subnet, interface, None, ip, metric),)
    if default:
        routes += (Route(everywhere, interface, gateway, ip, metric),)
    return Scene(label, (nic(interface, address),), routes, ((interface, gateway, mac),), name)


def tunnel(label: str, interface: str, address: str, *prefixes: str) -> Scene:
    """Return a VPN's interface with the routes that lead into it."""
    ip = address.partition("/")[0]
    routes = tuple(Route(p, interface, None, ip) for p in prefixes)
    return Scene(label, (nic(interface, address, kind="vpn"),), routes)


NOTHING = Scene()
LO = Scene("lo", (nic("lo", "127.0.0.1/8", kind="loopback"),))
HOME = lan("home", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="aa:01")
CAFE = lan("café", "wlan0", "10.20.0.7/24", gateway="10.20.0.1", mac="cc:01")
CAFE_2 = lan("second café", "wlan0", "10.30.0.7/24", gateway="10.30.0.1", mac="cc:02")
CABLE = lan("cable", "eth0", "192.168.10.3/24", gateway="192.168.10.1", mac="aa:01", metric=100)
UNADDRESSED = Scene("wlan0 without an address", (nic("wlan0"),))
OFFICE = lan("office", "eth0", "172.20.0.5/24", gateway="172.20.0.1", mac="dd:01", metric=100)
HOME_6 = lan("home, IPv6", "wlan0", "2001:db8:10::2/64", gateway="fe80::1", mac="aa:01")
DOCKER = Scene(
    "docker", (nic("docker0", "172.17.0.1/16", kind="virtual"),), (Route("172.17.0.0/16", "docker0"),)
)
VPN = tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
UNADDRESSED_VPN = Scene("tun0 without an address", (nic("tun0", kind="vpn"),))
VPN_ALL = tunnel("VPN for everything", "tun0", "10.8.0.6/24", "0.0.0.0/1", "128.0.0.0/1")
