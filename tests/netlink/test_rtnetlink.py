"""The parsing of recorded rtnetlink messages."""

from __future__ import annotations

import socket

import pytest

from trayagent.netlink import rtnetlink as rt
from trayagent.netlink.errors import NetlinkError

Golden = dict[str, bytes]
HOP = rt.NextHop


@pytest.mark.parametrize(
    ("name", "kind", "parent", "master", "tap"),
    [
        ("lo", "", 0, 0, False),
        ("wire0", "veth", 2, 0, False),
        ("tap0", "tun", 0, 6, True),
        ("tun0", "tun", 0, 0, False),
        ("br0", "bridge", 0, 0, False),
    ],
)
def test_a_link_tells_what_it_is(
    golden: Golden, name: str, kind: str, parent: int, master: int, tap: bool
) -> None:
    """Driver name, parent, master, and tun or tap are read from a link's message."""
    link = rt.parse_link(golden[f"link {name}"])
    assert (link.name, link.kind, link.parent, link.master, link.tap) == (name, kind, parent, master, tap)
    assert not link.parent_elsewhere


def test_a_links_flags_tell_carrier(golden: Golden) -> None:
    """wire0 has carrier; tun0 is up, but no process has opened it."""
    up = rt.parse_link(golden["link wire0"])
    assert up.flags & rt.IFF_UP
    assert up.flags & rt.IFF_LOWER_UP
    assert up.carrier_losses == 1
    unheld = rt.parse_link(golden["link tun0"])
    assert unheld.flags & rt.IFF_UP
    assert not unheld.flags & (rt.IFF_LOWER_UP | rt.IFF_RUNNING)


@pytest.mark.parametrize(
    ("ip", "index", "prefix_len"), [("192.0.2.10", 3, 24), ("10.8.0.2", 5, 32), ("2001:db8::10", 3, 64)]
)
def test_an_address_is_ours_not_the_peers(golden: Golden, ip: str, index: int, prefix_len: int) -> None:
    """On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL the local address."""
    found = rt.parse_address(golden[f"address {ip}"])
    assert found is not None
    assert (found.ip, found.index, found.prefix_len) == (ip, index, prefix_len)
    assert not found.flags & rt.IFA_F_TENTATIVE


@pytest.mark.parametrize(
    ("name", "kind", "table", "metric", "source", "hops"),
    [
        ("0.0.0.0/0", rt.RTN_UNICAST, 254, 600, None, (HOP(3, "192.0.2.1"),)),
        ("10.8.0.1/32", rt.RTN_UNICAST, 254, 0, "10.8.0.2", (HOP(5),)),
        ("192.0.2.0/24", rt.RTN_UNICAST, 254, 0, "192.0.2.10", (HOP(3),)),
        ("198.51.100.0/24", rt.RTN_UNICAST, 254, 0, None, (HOP(3, "192.0.2.1"), HOP(5))),
        ("203.0.113.0/24", rt.RTN_UNICAST, 254, 0, None, (HOP(3, "2001:db8::1"),)),
        ("192.168.99.0/24", rt.RTN_UNREACHABLE, 254, 0, None, ()),
        ("::/0", rt.RTN_UNICAST, 77, 1024, None, (HOP(3, "2001:db8::1"),)),
    ],
)
def test_a_route_is_read_with_its_hops(
    golden: Golden,
    name: str,
    kind: int,
    table: int,
    metric: int,
    source: str | None,
    hops: tuple[rt.NextHop, ...],
) -> None:
    """All kinds of routes are read: default, device, multipath, over an IPv6 gateway, unreachable, another table."""
    route = rt.parse_route(golden[f"route {name}"])
    assert route is not None
    assert f"{route.network}/{route.prefix_len}" == name
    assert (route.kind, route.table, route.metric, route.source) == (kind, table, metric, source)
    assert route.hops == hops
    assert route.family == (socket.AF_INET6 if ":" in name else socket.AF_INET)


def test_a_neighbour_tells_its_mac(golden: Golden) -> None:
    """The link-layer address is in the usual notation."""
    found = rt.parse_neighbour(golden["neighbour 192.0.2.1"])
    assert found == rt.Neighbour(3, "192.0.2.1", "02:00:5e:00:53:01", rt.NUD_PERMANENT)


def test_another_family_is_skipped(golden: Golden) -> None:
    """A bridge's or an MPLS message is skipped, not misread."""
    body = bytes([7]) + golden["route 0.0.0.0/0"][1:]
    assert rt.parse_route(body) is None
    assert rt.parse_address(bytes([7]) + golden["address 192.0.2.10"][1:]) is None


@pytest.mark.parametrize("parse", [rt.parse_link, rt.parse_address, rt.parse_route, rt.parse_neighbour])
def test_a_message_without_its_head_is_refused(parse: object) -> None:
    """Three bytes are no message of any kind."""
    assert callable(parse)
    with pytest.raises(NetlinkError, match="3 bytes"):
        parse(b"\2\0\0")
