"""The snapshot shows a namespace that the test built."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from trayagent.core.facts.network import Address, Lookup
from trayagent.net.linux_snapshot import read

if TYPE_CHECKING:
    from tests.net.conftest import World


def test_the_picture_shows_what_was_made(world: World) -> None:
    """The snapshot has interfaces with kind, state and addresses, routes best first, and the gateway's MAC."""

    async def body() -> None:
        world.wires("w", "v")
        world.ip(
            "addr add 192.168.10.2/24 dev w",
            "addr add 169.254.7.7/16 dev v",
            "route add default via 192.168.10.1 dev w metric 600",
            "route add default dev v metric 100",
            "neigh add 192.168.10.1 lladdr 02:00:5e:00:53:01 dev w",
            "neigh add 192.168.10.9 lladdr 02:00:5e:00:53:09 dev w",
        )
        await world.until(lambda: all(i.up for i in read().interfaces), "all links have carrier")
        seen = read()
        wire = seen.interface("w")
        assert wire is not None
        assert (wire.kind, wire.up, wire.lower) == ("physical", True, ())
        assert wire.addresses == (Address("192.168.10.2", 24),)
        other = seen.interface("v")
        assert other is not None
        assert other.addresses[0].link_local
        ways = [(r.interface, r.gateway, r.metric) for r in seen.routes if r.prefix == "0.0.0.0/0"]
        assert ways == [("v", None, 100), ("w", "192.168.10.1", 600)]
        assert all(r.table != 255 for r in seen.routes)
        assert seen.gateway_macs == {("w", "192.168.10.1"): "02:00:5e:00:53:01"}

    world.run(body)


def test_a_look_up_names_the_entry_that_matched(world: World) -> None:
    """A route lookup returns the entry's prefix, metric and table, and the packet's interface and source."""

    async def body() -> None:
        world.wires("w", "v")
        world.ip("addr add 192.168.10.2/24 dev w", "addr add 10.8.0.2/24 dev v")
        world.ip("route add default via 192.168.10.1", "route add 10.99.0.0/16 via 10.8.0.1 metric 50")
        world.ip("route add 203.0.113.0/24 via 10.8.0.1 table 77", "rule add to 203.0.113.0/24 lookup 77")
        plain, inner, ruled = Lookup("198.51.100.7"), Lookup("10.99.1.1"), Lookup("203.0.113.10")
        bound, own = Lookup("203.0.113.10", local="192.168.10.2"), Lookup("10.8.0.2")
        matched = read([plain, inner, ruled, bound, own]).matched
        found = {
            lookup: route and (route.prefix, route.interface, route.source, route.metric, route.table)
            for lookup, route in matched.items()
        }
        assert found[plain] == ("0.0.0.0/0", "w", "192.168.10.2", 0, 254)
        assert found[inner] == ("10.99.0.0/16", "v", "10.8.0.2", 50, 254)
        assert found[ruled] == ("203.0.113.0/24", "v", "10.8.0.2", 0, 77)
        assert found[bound] == ("203.0.113.0/24", "v", "192.168.10.2", 0, 77)
        way = matched[own]
        assert way is not None
        assert way.interface == "lo"

    world.run(body)


def test_no_route_is_none(world: World) -> None:
    """A route lookup returns None if no route matches, if the route forbids the packet, or if the source is gone."""

    async def body() -> None:
        nowhere = [Lookup("198.51.100.7"), Lookup("2001:db8::1")]
        assert all(route is None for route in read(nowhere).matched.values())
        world.wires("w")
        world.ip("addr add 192.168.10.2/24 dev w", "addr add fd00::2/64 dev w nodad")
        world.ip("route add default via 192.168.10.1", "route add ::/0 via fd00::1")
        assert all(route is not None for route in read(nowhere).matched.values())
        for net, kind in ((1, "unreachable"), (2, "prohibit"), (3, "blackhole")):
            world.ip(f"route add {kind} 10.{net}.0.0/16", f"route add {kind} 2001:db8:{net}::/48")
        shut = [Lookup(f"10.{n}.0.1") for n in (1, 2, 3)] + [Lookup(f"2001:db8:{n}::1") for n in (1, 2, 3)]
        seen = read([*shut, Lookup("198.51.100.7", local="192.0.2.99")])
        assert all(route is None for route in seen.matched.values())
        assert not [r for r in seen.routes if r.prefix.startswith("10.")]

    world.run(body)


def test_a_link_local_peer_is_asked_by_its_scope(world: World) -> None:
    """For a link-local peer, the scope selects the interface. A scope that does not exist gives no route."""

    async def body() -> None:
        world.wires("w", "v")
        world.ip("addr add fe80::2/64 dev w nodad", "addr add fe80::3/64 dev v nodad")
        asked = [Lookup("fe80::9", scope="w"), Lookup("fe80::9", scope="v"), Lookup("fe80::9%v")]
        found = [r and (r.interface, r.source) for r in read(asked).matched.values()]
        assert found == [("w", "fe80::2"), ("v", "fe80::3"), ("v", "fe80::3")]
        world.ip("link del v")
        assert list(read(asked[1:]).matched.values()) == [None, None]

    world.run(body)


def test_up_means_carrier(world: World) -> None:
    """A link that is up without carrier is unusable, although its route stays."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.168.10.2/24 dev w")

        def up() -> bool:
            wire = read().interface("w")
            return wire is not None and wire.up

        await world.until(up, "carrier")
        world.ip("link set far-w down")
        await world.until(lambda: not up(), "no carrier")
        assert [r.interface for r in read().routes if r.prefix == "192.168.10.0/24"] == ["w"]

    world.run(body)


def test_a_tentative_and_a_deprecated_address_are_present(world: World) -> None:
    """Tentative and deprecated addresses are in the snapshot, with flags that distinguish them."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 2001:db8::5/64 dev w", "addr add 2001:db8::6/64 dev w nodad preferred_lft 0")
        wire = read().interface("w")
        assert wire is not None
        flags = {a.ip: (a.tentative, a.deprecated) for a in wire.addresses}
        assert flags == {"2001:db8::5": (True, False), "2001:db8::6": (False, True)}

    world.run(body)


def test_an_address_of_a_local_route_is_present(world: World) -> None:
    """`ip route add local` makes addresses this machine's that no interface lists, as the loopback network's are."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.168.10.2/24 dev w", "route add local 192.168.77.0/24 dev lo")
        world.ip("route add local default dev lo table 77")
        seen = read()
        assert seen.local_prefixes == {"127.0.0.0/8", "192.168.77.0/24"}
        assert seen.has_address("192.168.77.9")
        assert seen.has_address("127.0.0.5")
        assert not seen.has_address("192.168.10.3")

    world.run(body)


def test_a_tun_is_a_vpn_and_a_tap_in_a_bridge_is_not(world: World) -> None:
    """OpenVPN's device is distinguished from a virtual machine's."""

    async def body() -> None:
        tun, tap = world.tun("tun0"), world.tun("vnet0", tap=True)
        world.ip("link add br0 type bridge", "link set vnet0 master br0", "link set tun0 up")
        seen = read()
        os.close(tun)
        os.close(tap)
        assert {i.name: i.kind for i in seen.interfaces if i.name != "lo"} == {
            "tun0": "vpn",
            "vnet0": "virtual",
            "br0": "virtual",
        }
        bridge = seen.interface("br0")
        assert bridge is not None
        assert bridge.lower == ("vnet0",)

    world.run(body)


def test_the_picture_is_taken_within_milliseconds(world: World) -> None:
    """Reading eight links and a route takes far less time than a user could notice."""

    async def body() -> None:
        world.wires("w1", "w2", "w3", "w4")
        best_s = 1.0
        for _ in range(20):
            begin = time.perf_counter()
            read([Lookup("127.0.0.1")])
            best_s = min(best_s, time.perf_counter() - begin)
        assert best_s < 0.01

    world.run(body)
