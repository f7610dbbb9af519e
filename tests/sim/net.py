"""The simulated network: where cables and radios truly lead, and what the kernel shows of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache

from msgspec import Struct

from tests.stories.scenes import DOCKER, LO, Scene, lan, tunnel
from trayagent.core.facts.network import Lookup, Route, Snapshot, Touched

PUBLIC, OUTER = "203.0.113.10", "203.0.113.20"
NODES = ("203.0.113.31", "203.0.113.32")  # two login nodes of a cluster, with one name and one host key
INTERNAL, HOME_ONLY = "10.99.0.10", "192.168.10.50"
TUN = "tun0"


class Spot(Struct, frozen=True):
    """One network connection of the laptop. `segment` is the LAN to which it truly leads.

    `resets`: the router answers packets of unknown connections with RST.
    """

    segment: str
    interface: str
    address: str
    gateway: str
    mac: str
    address6: str | None = None
    resets: bool = False

    @cache  # noqa: B019  # all spots are constants of this module
    def scene(self) -> Scene:
        """Return what the kernel shows of this connection."""
        metric = 100 if self.interface == "eth0" else 600
        four = lan(
            self.segment, self.interface, self.address, gateway=self.gateway, mac=self.mac, metric=metric
        )
        if self.address6 is None:
            return four
        six = lan("", self.interface, self.address6, gateway="fe80::1", mac=self.mac, metric=metric)
        both = (*four.interfaces[0].addresses, *six.interfaces[0].addresses)
        face = type(four.interfaces[0])(four.interfaces[0].index, self.interface, "physical", True, both)
        return Scene(self.segment, (face,), four.routes + six.routes, four.macs + six.macs)


SPOTS = {
    "home": Spot("home", "wlan0", "192.168.10.2/24", "192.168.10.1", "aa:01", "2001:db8:10::2/64"),
    "cable": Spot("home", "eth0", "192.168.10.3/24", "192.168.10.1", "aa:01"),
    "cafe": Spot("cafe", "wlan0", "10.20.0.7/24", "10.20.0.1", "cc:01"),
    # Another LAN with the same addresses as home. Another machine's sshd answers at the address of home's server.
    "twin": Spot("twin", "wlan0", "192.168.10.2/24", "192.168.10.1", "bb:01"),
    "twin_nat": Spot("twin_nat", "wlan0", "192.168.10.2/24", "192.168.10.1", "bb:02", resets=True),
    "office": Spot("office", "eth0", "172.20.0.5/24", "172.20.0.1", "dd:01"),
}


class Flow(Struct, frozen=True):
    """The addresses and the network of a TCP connection. It carries data only while these exist.

    `bound`: the interface to which it is bound, None if the routes decide.
    """

    local: str
    peer: str
    segment: str
    tunnel: int | None = None
    bound: str | None = None


class Picture:
    """What the kernel shows at one moment, with its answers to route lookups."""

    def __init__(self, scene: Scene, unresolved: frozenset[str]) -> None:
        self.scene = scene
        self.macs = {(i, g): mac for i, g, mac in scene.macs if i not in unresolved}
        self.bearers = {a.ip: face.name for face in reversed(scene.interfaces) for a in face.addresses}
        self._matched: dict[Lookup, Route | None] = {}

    def match(self, lookup: Lookup) -> Route | None:
        """Return the route that the kernel would choose."""
        if lookup not in self._matched:
            self._matched |= self.scene.snapshot([lookup]).matched
        return self._matched[lookup]


class Shown(Struct, frozen=True):
    """The inputs of a picture."""

    spots: tuple[Spot, ...]
    dark: tuple[str, ...]
    extra: int
    tentative: frozenset[str]
    lingering: tuple[str, ...]
    docker: bool
    tunnel_address: str
    tunnel_everything: bool
    unresolved: frozenset[str]


@lru_cache(maxsize=4096)  # the same few pictures repeat within and across histories
def picture(shown: Shown) -> Picture:
    """Return what the kernel shows for these inputs."""
    scene = LO
    for spot in shown.spots:
        scene += spot.scene()
    for name in shown.dark:
        scene = scene.down(name)
    if shown.extra and any(spot.interface == "wlan0" for spot in shown.spots):
        scene = scene.with_address("wlan0", f"2001:db8:10::{shown.extra + 100:x}/64")
    for face in scene.interfaces:
        for address in face.addresses:
            if address.ip in shown.tentative:
                scene = scene.with_address(face.name, str(address), tentative=True, first=True)
    for own in shown.lingering:
        scene = scene.with_address("wlan0", own)
    if shown.docker:
        scene += DOCKER
    if shown.tunnel_address:
        prefixes = ("10.99.0.0/24", "0.0.0.0/1", "128.0.0.0/1")[: 3 if shown.tunnel_everything else 1]
        scene += tunnel("vpn", TUN, shown.tunnel_address, *prefixes)
    return Picture(scene, shown.unresolved)


@cache
def _to(peer: str) -> Lookup:
    return Lookup(peer)


@cache
def _of(flow: Flow) -> Lookup:
    return Lookup(flow.peer, flow.local, flow.bound)


@dataclass
class Net:
    """The networks that are connected now.

    `holes` are segments that silently drop every packet. `liars` maps segments to a lie: the gateway answers new
    connections in each server's place, in this way.
    """

    spots: dict[str, Spot] = field(default_factory=dict)
    dark: set[str] = field(
        default_factory=set
    )  # interfaces without carrier, whose addresses and routes remain
    holes: set[str] = field(default_factory=set)
    liars: dict[str, str] = field(default_factory=dict)
    tunnel_number: int | None = None
    tunnel_segment: str = ""
    tunnel_everything: bool = False
    docker: bool = False
    rtt_s: float = 0.040
    extra: int = 0  # the number of privacy addresses from router advertisements
    tentative: set[str] = field(default_factory=set)  # addresses from which the kernel sends no packet yet
    # addresses of the previous network that remain for a moment
    lingering: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)  # interfaces whose gateway the kernel has not resolved
    metered: set[str] = field(default_factory=set)  # interfaces whose traffic costs money
    _tunnels: int = 0
    _picture: Picture | None = None

    def changed(self, old: Scene) -> Touched:
        """Discard the cached picture, and return the changes from the old scene that the kernel's messages report."""
        self._picture = None
        new = self.scene()
        mine = {a.ip for i in new.interfaces for a in i.addresses}
        gone = {a.ip for i in old.interfaces for a in i.addresses} - mine
        up = {i.name: i.up for i in new.interfaces}
        links = {i.name for i in old.interfaces if up.get(i.name) != i.up}
        links |= up.keys() - {i.name for i in old.interfaces}
        lost = {r.interface for r in old.routes} - {r.interface for r in new.routes}
        return Touched(frozenset(links), frozenset(gone), frozenset(lost))

    def resolve(self, interface: str) -> None:
        """Resolve the gateway of an interface. The kernel reports no change."""
        self.unresolved.discard(interface)
        self._picture = None

    def tunnel_up(self, *, everything: bool) -> None:
        """Bring the VPN up over the default interface, with a new address."""
        segment = self._segment_of(self._default())
        if segment is not None:
            self._tunnels += 1
            self.tunnel_number, self.tunnel_segment, self.tunnel_everything = (
                self._tunnels,
                segment,
                everything,
            )

    def scene(self) -> Scene:
        """Return what the kernel shows."""
        return self.picture().scene

    def picture(self) -> Picture:
        """Return what the kernel shows, with its answers to route lookups."""
        if self._picture is None:
            number = self.tunnel_number
            self._picture = picture(
                Shown(
                    tuple(self.spots.values()),
                    tuple(self.dark),
                    self.extra,
                    frozenset(self.tentative),
                    tuple(self.lingering),
                    self.docker,
                    f"10.8.0.{number % 200 + 2}/24" if number is not None else "",
                    self.tunnel_everything,
                    frozenset(self.unresolved),
                )
            )
        return self._picture

    def snapshot(self, lookups: Iterable[Lookup]) -> Snapshot:
        """Return the snapshot that the agent would read now."""
        now = self.picture()
        matched = {at: now.match(at) for at in lookups}
        return Snapshot(now.scene.interfaces, now.scene.routes, matched, now.macs)

    def _match(self, lookup: Lookup) -> Route | None:
        return self.picture().match(lookup)

    def way(self, peer: str, bound: str | None = None) -> Flow | None:
        """Return the flow that a new connection would get, or None if there is no route.

        `bound`: the connection is bound to this interface.
        """
        route = self._match(Lookup(peer, None, bound) if bound is not None else _to(peer))
        if route is None or route.source is None or not self._up(route.interface):
            return None
        if route.interface == TUN:
            return Flow(route.source, peer, TUN, self.tunnel_number)
        return Flow(route.source, peer, self._segment_of(route.interface) or "", bound=bound)

    def carries(self, flow: Flow, *, soon: bool = False) -> bool:
        """Report whether packets of this flow still reach the original peer, and answers come back.

        With `soon`, ignore that an address is still tentative.
        """
        if flow.local in self.tentative and not soon:
            return False
        route = self._match(_of(flow))
        if route is None or not self._up(route.interface):
            return False
        if route.interface == TUN:
            return flow.tunnel == self.tunnel_number and self._tunnel_stands()
        # A router drops packets from a foreign source address, and answers reach only the interface that has the
        # address.
        segment, bearer = self._segment_of(route.interface), self._bearer(flow.local)
        at_home = (
            self._segment_of(bearer) == segment == flow.segment and bearer is not None and self._up(bearer)
        )
        return at_home and flow.tunnel is None and segment not in self.holes

    def resets(self, flow: Flow) -> bool:
        """Report whether the router on the current path would answer a packet of this flow with a RST."""
        bearer = self._bearer(flow.local)
        spot = self.spots.get(bearer) if bearer is not None else None
        return spot is not None and spot.resets and spot.segment != flow.segment and self._up(spot.interface)

    def signature(self, flow: Flow) -> object:
        """Return the true path of this flow. If it changes, a master on this flow must be suspected."""
        route = self._match(_of(flow))
        if self._bearer(flow.local) is None:
            return "absent"
        if route is None:
            return "no route"
        under = self._segment_of(self._default()) if route.interface == TUN else None
        return (
            route.interface,
            self._up(route.interface),
            route.prefix,
            self._segment_of(route.interface),
            self._segment_of(self._bearer(flow.local)),
            under,
        )

    def touches(self, flow: Flow, seen: Touched) -> bool:
        """Report whether these changes touch the flow's path."""
        route = self._match(_of(flow))
        egress = route.interface if route is not None else ""
        bearer = self._bearer(flow.local) or ""
        return (
            seen.lost
            or flow.local in seen.addresses
            or egress in seen.links | seen.routes
            or bearer in seen.links
        )

    def has(self, ip: str) -> bool:
        """Report whether an interface of the laptop has the address."""
        return self._bearer(ip) is not None

    def online(self) -> bool:
        """Report whether there is a usable default route."""
        return self._default() is not None

    def place(self, flow: Flow) -> str:
        """Return an identifier of the flow's network: interface and segment, or the tunnel."""
        return TUN if flow.tunnel is not None else f"{self._bearer(flow.local)}@{flow.segment}"

    def outside(self) -> tuple[str, str] | None:
        """Return the interface of the default route and its segment, or None if there is none."""
        interface = self._default()
        segment = self._segment_of(interface)
        return (interface, segment) if interface is not None and segment is not None else None

    def _tunnel_stands(self) -> bool:
        return (
            self._segment_of(self._default()) == self.tunnel_segment and self.tunnel_segment not in self.holes
        )

    def _default(self) -> str | None:
        return next((n for n in ("eth0", "wlan0") if n in self.spots and n not in self.dark), None)

    def _segment_of(self, interface: str | None) -> str | None:
        spot = self.spots.get(interface) if interface is not None else None
        return spot.segment if spot is not None else None

    def _up(self, interface: str) -> bool:
        return interface not in self.dark

    def _bearer(self, ip: str) -> str | None:
        return self.picture().bearers.get(ip)
