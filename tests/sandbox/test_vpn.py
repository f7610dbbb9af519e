from __future__ import annotations

import json

import pytest

from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import INTERNAL, SERVER

pytestmark = pytest.mark.lab


def test_the_internal_network_is_reached_only_through_the_vpn(vpn_lab: Lab) -> None:
    """The internal network answers only while the VPN is up."""
    assert vpn_lab.laptop.ping(INTERNAL, wait_s=0.2) == [None]
    vpn_lab.vpn_up()
    (answer,) = vpn_lab.laptop.ping(INTERNAL)
    assert answer is not None and answer >= 20
    vpn_lab.vpn_down()
    assert vpn_lab.laptop.ping(INTERNAL, wait_s=0.2) == [None]


def test_each_time_it_comes_up_with_a_new_address(vpn_lab: Lab) -> None:
    """Each time the VPN comes up, it has another address."""
    seen = set()
    for _ in range(3):
        address, _ = vpn_lab.vpn_up()
        seen.add(address)
        vpn_lab.vpn_down()
    assert len(seen) == 3


def test_down_takes_the_device_away(vpn_lab: Lab) -> None:
    """When the VPN goes down, tun0, its address and its routes disappear."""
    vpn_lab.vpn_up()
    assert "tun0" in vpn_lab.laptop.check(["ip", "link"])
    vpn_lab.vpn_down()
    assert "tun0" not in vpn_lab.laptop.check(["ip", "link"]) + vpn_lab.laptop.check(["ip", "route"])


def test_an_old_lease_is_not_served(vpn_lab: Lab) -> None:
    """Packets from an address of an earlier lease get no answer."""
    old, _ = vpn_lab.vpn_up()
    vpn_lab.vpn_down()
    vpn_lab.vpn_up()
    assert vpn_lab.laptop.ping(INTERNAL) != [None]
    vpn_lab.laptop.ip(f"addr add {old}/32 dev tun0", f"route change 10.99.0.0/24 dev tun0 src {old}")
    before = echoes_heard(vpn_lab)
    assert vpn_lab.laptop.ping(INTERNAL, wait_s=0.2) == [None]
    assert echoes_heard(vpn_lab) == before  # the packet did not even reach the server


def echoes_heard(lab: Lab) -> int:
    """Return how many ICMP echo requests the server has received."""
    names, values = (
        line.split()
        for line in lab.server.check(["cat", "/proc/net/snmp"]).splitlines()
        if line.startswith("Icmp:")
    )
    return int(dict(zip(names, values, strict=True))["InEchos"])


def test_a_dead_server_leaves_device_and_routes(vpn_lab: Lab) -> None:
    """A stalled VPN is silent although tun0 and its route exist. It can work again later."""
    vpn_lab.vpn_up()
    vpn_lab.vpn_stall(True)
    assert vpn_lab.laptop.ping(INTERNAL, wait_s=0.2) == [None]
    assert "10.99.0.0/24 dev tun0" in vpn_lab.laptop.check(["ip", "route"])
    vpn_lab.vpn_stall(False)
    assert vpn_lab.laptop.ping(INTERNAL) != [None]


def test_the_tunnel_roams_with_the_laptop(vpn_lab: Lab) -> None:
    """After a switch the same tunnel with the same address continues on the new network."""
    vpn_lab.vpn_up()
    assert vpn_lab.laptop.ping(INTERNAL) != [None]
    vpn_lab.switch("home", "cafe")
    assert vpn_lab.laptop.ping(INTERNAL, count=2)[1] is not None


def test_the_vpn_can_take_over_a_route(vpn_lab: Lab) -> None:
    """With the server's address among its routes, traffic to the server leaves through tun0."""
    address, _ = vpn_lab.vpn_up(routes=("10.99.0.0/24", f"{SERVER}/32"))
    (way,) = json.loads(vpn_lab.laptop.check(["ip", "-json", "route", "get", SERVER]))
    assert (way["dev"], way["prefsrc"]) == ("tun0", address)
    assert vpn_lab.laptop.ping(SERVER) != [None]
