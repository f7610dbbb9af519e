"""The kind of an interface follows from the links alone."""

from __future__ import annotations

import socket

import pytest

from trayagent.core.facts.network import Kind
from trayagent.net.linux_interface_kinds import ARPHRD_LOOPBACK, ARPHRD_NONE, kinds, lower
from trayagent.netlink.rtnetlink import Link, NextHop, RouteEntry

CARD = Link(2, "eth0", 0, 1, bus_device="0000:00:1f.6")
DOCKER = Link(3, "docker0", 0, 1, kind="bridge")


def default(index: int, gateway: str | None = None, prefix_len: int = 0) -> RouteEntry:
    """Return a default route (or, with a length, another) over one interface."""
    network = "0.0.0.0"  # noqa: S104 - a route's network
    hop = NextHop(index, gateway)
    return RouteEntry(socket.AF_INET, network, prefix_len, 1, 254, 0, None, (hop,))


@pytest.mark.parametrize(
    ("link", "beside", "expected"),
    [
        (Link(1, "lo", 0, ARPHRD_LOOPBACK), (), "loopback"),
        (CARD, (), "physical"),
        (Link(5, "wlan0", 0, 1), (), "physical"),
        (Link(5, "wwan0", 0, ARPHRD_NONE, bus_device="1-4:1.2"), (), "physical"),
        (Link(5, "wwan0", 0, 519, kind="wwan"), (), "physical"),
        (Link(5, "tun0", 0, ARPHRD_NONE, kind="tun"), (CARD,), "vpn"),
        (Link(5, "tap0", 0, 1, kind="tun", tap=True), (CARD,), "vpn"),
        (Link(5, "vnet0", 0, 1, kind="tun", tap=True, master=3), (CARD, DOCKER), "virtual"),
        (Link(5, "wg0", 0, ARPHRD_NONE, kind="wireguard"), (CARD,), "vpn"),
        (Link(5, "cscotun0", 0, ARPHRD_NONE), (CARD,), "vpn"),
        (Link(5, "gre1", 0, 778), (CARD,), "vpn"),
        (Link(5, "he-ipv6", 0, 776, kind="sit"), (CARD,), "vpn"),
        (Link(5, "dummy0", 0, 1, kind="dummy"), (CARD,), "virtual"),
        (Link(5, "veth1", 0, 1, kind="veth", parent=9, parent_elsewhere=True), (CARD,), "virtual"),
        (DOCKER, (CARD, Link(5, "veth1", 0, 1, kind="veth", master=3)), "virtual"),
        (DOCKER, (CARD,), "virtual"),
        (Link(5, "br0", 0, 1, kind="bridge"), (Link(2, "eth0", 0, 1, master=5),), "physical"),
        (Link(5, "bond0", 0, 1, kind="bond"), (Link(2, "eth0", 0, 1, master=5),), "physical"),
        (Link(5, "eth0.7", 0, 1, kind="vlan", parent=2), (CARD,), "physical"),
        (Link(5, "mv0", 0, 1, kind="macvlan", parent=2), (CARD,), "physical"),
        (Link(5, "docker0.7", 0, 1, kind="vlan", parent=3), (CARD, DOCKER), "virtual"),
        (Link(5, "macvtap0", 0, 1, kind="macvtap", parent=2), (CARD,), "virtual"),
    ],
    ids=lambda v: v.name if isinstance(v, Link) else "",
)
def test_a_link_is_of_its_kind(link: Link, beside: tuple[Link, ...], expected: Kind) -> None:
    """Cards and devices on top of them are physical, tunnels are VPNs, and other links never leave the machine."""
    assert kinds((link, *beside), ())[link.index] == expected


def test_a_veth_is_the_wire_where_there_is_no_hardware() -> None:
    """In a container or a namespace the veth is the uplink, but a bridge's port is not."""
    wire = Link(5, "eth0", 0, 1, kind="veth", parent=7, parent_elsewhere=True)
    port = Link(6, "veth1", 0, 1, kind="veth", master=3)
    found = kinds(
        (Link(1, "lo", 0, ARPHRD_LOOPBACK), wire, port, DOCKER, Link(8, "tun0", 0, ARPHRD_NONE, kind="tun")),
        (),
    )
    assert found == {1: "loopback", 5: "physical", 6: "virtual", 3: "virtual", 8: "vpn"}


PPP = Link(5, "ppp0", 0, 512, kind="ppp")


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((default(5),), "physical"),
        ((default(5), default(2, None, 24)), "physical"),
        ((default(5), default(2, "192.168.10.1", 32)), "vpn"),
        ((default(2, "192.168.10.1"), default(5, None, 24)), "vpn"),
        ((), "vpn"),
    ],
    ids=["modem", "modem beside a LAN", "VPN takes all", "VPN takes some", "not yet routed"],
)
def test_a_modem_is_distinguished_from_a_ppp_vpn(routes: tuple[RouteEntry, ...], expected: Kind) -> None:
    """A ppp device is a VPN if another network with a gateway can carry it. Otherwise it is a modem."""
    assert kinds((CARD, PPP), routes)[5] == expected


def test_a_ring_of_links_ends() -> None:
    """Two links on top of each other cause no endless recursion."""
    one, two = Link(5, "a", 0, 1, kind="vlan", parent=6), Link(6, "b", 0, 1, kind="macvlan", parent=5)
    assert set(kinds((one, two), ())) == {5, 6}


def test_lower_names_ports_and_parents_but_no_veth_peer() -> None:
    """The lower devices of a bridge are its ports, and that of a VLAN is its card. A veth has none."""
    links = (CARD, DOCKER, Link(5, "veth1", 0, 1, kind="veth", parent=2, master=3))
    assert lower(DOCKER, links) == ("veth1",)
    assert lower(links[2], links) == ()
    assert lower(Link(7, "eth0.7", 0, 1, kind="vlan", parent=2), links) == ("eth0",)
