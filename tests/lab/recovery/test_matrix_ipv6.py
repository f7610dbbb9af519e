"""Masters over IPv6, where addresses appear, expire and change on their own: the agent keeps them."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.lab.matrix import HOST, Up, bring_up, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import NETWORKS, SERVER_6

pytestmark = pytest.mark.parametrize("lab", [{"ipv6": True}], indirect=True)

PREFIX = NETWORKS["home"].subnet_6
OWN = f"{PREFIX}2"

# Sends a router advertisement with one prefix (RFC 4861, 4.2 and 4.6.2). The kernel fills in the checksum.
ADVERTISE = """
import socket, struct, sys
prefix, lifetime, valid, preferred = sys.argv[1], *map(int, sys.argv[2:])
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
head = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0)
option = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, valid, preferred, 0) + socket.inet_pton(socket.AF_INET6, prefix)
sock.sendto(head + option, ("ff02::1", 0, 0, socket.if_nametoindex("lan")))
"""


def advertise(lab: Lab, *, lifetime_s: int = 1800, valid_s: int = 7200, preferred_s: int = 3600) -> None:
    """Make home's router send an advertisement of its prefix and itself."""
    numbers = map(str, (lifetime_s, valid_s, preferred_s))
    lab.nodes["home"].check([sys.executable, "-I", "-S", "-c", ADVERTISE, PREFIX, *numbers], admin=True)


def addresses(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return the Wi-Fi's global IPv6 addresses as `ip` prints them."""
    words = ["ip", "-json", "-6", "addr", "show", "dev", "wlan0", "scope", "global"]
    shown = json.loads(lab.laptop.check(words) or "[]")
    return {a["local"]: a for interface in shown for a in interface.get("addr_info", []) if a}


def settled(lab: Lab, count: int) -> bool:
    """Report whether there are `count` addresses and none is tentative."""
    found = addresses(lab)
    return len(found) == count and not any(a.get("tentative") for a in found.values())


def _heard(lab: Lab, count: int) -> bool:
    """Send an advertisement, and report whether the laptop got an address. The first advertisement may be too early."""
    advertise(lab)
    return len(addresses(lab)) == count


def up_over_ipv6(lab: Lab, agent: Agent, *, count: int = 1) -> Up:
    """Connect the host over IPv6, once no address of the laptop is tentative any more."""
    lab.sshd(SERVER_6)
    lab.join("home")
    if count > 1:
        until("the router is heard", lambda: _heard(lab, count))
    until("no address is tentative", lambda: settled(lab, count))
    up = bring_up(lab, agent, HostName=SERVER_6)
    assert up.before["peer"] == f"[{SERVER_6}]:22"
    up.events.drain(quiet_s=1.0)  # a link-local address may appear late
    up.events.seen.clear()
    return up


def test_router_advertisements_and_lifetimes_cause_no_probe(lab: Lab, agent: Agent) -> None:
    """Advertisements that renew addresses, routes and lifetimes cause no network event and no probe."""
    up = up_over_ipv6(lab, agent, count=2)
    for number in range(5):
        advertise(lab, lifetime_s=1800 - number, valid_s=7300 + number, preferred_s=3000 + number)
        lab.laptop.ip(f"addr change {OWN}/64 dev wlan0 valid_lft {3600 - number} preferred_lft 1800")
    left = {ip: a["valid_life_time"] for ip, a in addresses(lab).items()}
    assert max(left.values()) > 7200, f"nothing was renewed: {left}"
    up.assert_kept(proven=False)
    assert [e["event"] for e in up.events.seen] == []


def test_a_new_address_beside_a_deprecated_one_causes_no_probe(lab: Lab, agent: Agent) -> None:
    """The connection continues after its address is deprecated and another one is preferred."""
    up = up_over_ipv6(lab, agent)
    lab.laptop.ip(
        f"addr add {PREFIX}77/64 dev wlan0", f"addr change {OWN}/64 dev wlan0 valid_lft 3600 preferred_lft 0"
    )
    until("the new one is beyond doubt", lambda: settled(lab, 2))
    assert addresses(lab)[OWN].get("deprecated")
    up.assert_kept(proven=False)
    assert up.before["local"] == agent.wait_state(HOST, "connected")["local"]


def test_a_link_that_returns_keeps_the_master_over_ipv6(lab: Lab, agent: Agent) -> None:
    """After a lost carrier the addresses are still there, and the old connection answers."""
    up = up_over_ipv6(lab, agent)
    lab.link_down()
    agent.wait_state(HOST, "offline")
    lab.link_up()
    up.assert_kept(proven=True)


def test_the_same_address_given_again_and_still_tentative_keeps_the_master(lab: Lab, agent: Agent) -> None:
    """While an address is tentative, no new connection may use it, but the old connection keeps it."""
    up = up_over_ipv6(lab, agent)
    lab.laptop.ip(f"addr del {OWN}/64 dev wlan0", f"addr add {OWN}/64 dev wlan0")
    assert addresses(lab)[OWN].get("tentative"), "it is tested for a second"
    up.assert_kept(proven=True)


def test_another_network_replaces_the_master_over_ipv6(lab: Lab, agent: Agent) -> None:
    """A new prefix removes the old address, and a new master connects over IPv6 again."""
    up = up_over_ipv6(lab, agent)
    lab.switch("home", "cafe")
    up.events.wait("master-stale", HOST)
    up.events.wait("connected", HOST)
    after = agent.wait_state(HOST, "connected")
    assert after["pid"] != up.pid
    assert after["local"].startswith(f"[{NETWORKS['cafe'].subnet_6}2]")
