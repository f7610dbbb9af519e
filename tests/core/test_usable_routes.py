"""Usable routes, networks and paths, derived from a snapshot."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CABLE, CAFE, DOCKER, HOME, HOME_6, LO, NOTHING, VPN, Scene, tunnel
from trayagent.core.facts.hosts import Hop, Host, Reached
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Lookup, Network, Touched
from trayagent.core.network_changes import compare
from trayagent.core.tunnel_underlay import underlay
from trayagent.core.usable_routes import is_private, lookups, path_of, usable_interface, usable_route

PUBLIC = "203.0.113.10"
MASTER = Master(1, 1, "/cm/web", local="192.168.10.2", local_port=50000, peer=PUBLIC, peer_port=22)


def host(name: str = PUBLIC, *addresses: str, through: frozenset[str] = frozenset()) -> Host:
    """Return a host that is reached at a name or an address."""
    return Host("web", hop=Hop(name, 22), addresses=addresses, reached=Reached(interfaces=through))


def way(h: Host, scene: Scene) -> str | None:
    """Return the interface that the host's next connection would use."""
    found = usable_route(h, scene.snapshot(lookups([h])))
    return found.interface if found is not None else None


@pytest.mark.parametrize(
    ("ip", "private"),
    [
        ("10.1.2.3", True),
        ("172.31.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("169.254.1.1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("172.32.0.1", False),
        ("203.0.113.10", False),  # an address range for documentation, which is public
        ("198.18.0.1", False),
        ("2001:db8::1", False),
        ("127.0.0.1", False),
    ],
)
def test_private_addresses_are_those_of_the_rfcs(ip: str, private: bool) -> None:
    """The private addresses are those of RFC 1918, 4193, 6598 and link-local, which mean another machine elsewhere."""
    assert is_private(ip) is private


def test_a_default_route_leads_to_any_name() -> None:
    """A name may have other addresses than the known ones, so a default route is enough for it."""
    assert way(host("web.example.net"), HOME) == "wlan0"
    assert way(host("web.example.net", "2001:db8:99::1"), HOME) == "wlan0"


def test_an_address_needs_a_route_of_its_own() -> None:
    """An IPv4 default route does not lead to a literal IPv6 address."""
    assert way(host("2001:db8:99::1"), HOME) is None
    assert way(host("2001:db8:99::1"), HOME + HOME_6) == "wlan0"


def test_without_carrier_there_is_no_route() -> None:
    """A route whose interface lost its carrier remains in the table, but is not usable."""
    assert way(host(), HOME.down("wlan0")) is None
    assert way(host(), NOTHING) is None


def test_a_tunnel_needs_an_underlay() -> None:
    """A tunnel without an underlay is not usable, although its route and address remain."""
    internal = host("10.99.0.10")
    assert way(internal, HOME + VPN) == "tun0"
    assert way(internal, LO + VPN) is None
    assert way(internal, HOME.down("wlan0") + VPN) is None


def test_a_container_bridge_is_usable_only_for_hosts_that_were_reached_through_it() -> None:
    """docker0 is usable only for containers that were reached through it."""
    scene = HOME + DOCKER
    snapshot = scene.snapshot([])
    assert not usable_interface(snapshot, "docker0")
    assert usable_interface(snapshot, "docker0", {"docker0"})
    assert way(host("172.17.0.2"), scene) is None
    assert way(host("172.17.0.2", through=frozenset({"docker0"})), scene) == "docker0"


def test_the_underlay_is_the_best_route_that_is_no_tunnel() -> None:
    """The underlay of a VPN that takes every route is the cable."""
    everything = tunnel("vpn", "tun0", "10.8.0.6/24", "0.0.0.0/0")
    assert underlay((CABLE + HOME + everything).snapshot([])) == ("eth0", "192.168.10.1", "192.168.10.3")
    assert underlay((LO + everything).snapshot([])) is None


def path(scene: Scene, master: Master = MASTER) -> object:
    """Return the master's path in a scene."""
    return path_of(master, scene.snapshot([Lookup(PUBLIC, master.local), Lookup(PUBLIC)]))


def test_a_deprecated_address_is_present_and_makes_no_source_differ() -> None:
    """A deprecated address counts as present, and the source as equal, because only new connections avoid it."""
    scene = HOME.with_address("wlan0", "192.168.10.2/24", deprecated=True)
    assert path(scene) == path(HOME)


def test_an_address_on_any_interface_is_present() -> None:
    """A master's address counts as present on any interface, because Linux keeps the connection alive there."""
    moved = path(CAFE.with_address("wlan0", "192.168.10.2/32"))
    assert getattr(moved, "present", None) is True
    assert getattr(moved, "source_differs", None) is True


def test_flags_and_other_interfaces_are_no_part_of_a_path() -> None:
    """A container's interface or a new privacy address does not change the path."""
    assert path(HOME + DOCKER) == path(HOME.with_address("wlan0", "192.168.10.9/24")) == path(HOME)


def test_networks_that_cannot_be_compared_neither_match_nor_differ() -> None:
    """Two networks, of which one is known by its gateway and the other by its name, neither match nor differ."""
    by_gateway, by_name = Network("wlan0", "aa:01"), Network("wlan0", "", "Home")
    assert not by_gateway.matches(by_name)
    assert not by_gateway.differs(by_name)
    assert by_gateway.matches(Network("wlan0", "aa:01", "Home"))
    assert by_gateway.differs(Network("eth0", "aa:01"))
    assert by_name.differs(Network("wlan0", "", "Café"))


def test_a_delta_has_its_reasons() -> None:
    """A change of the network names its reasons, as history and `events` show them."""
    delta = compare(HOME.snapshot([]), CAFE.snapshot([]), Touched())
    assert str(delta.evidence) == "+10.20.0.7 -192.168.10.2 default=changed underlay=changed"
    assert not compare(HOME.snapshot([]), HOME.snapshot([]), Touched())
    assert compare(HOME.snapshot([]), HOME.snapshot([]), Touched(lost=True)).flickered
