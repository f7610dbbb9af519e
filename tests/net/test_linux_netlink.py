"""Real links, addresses and routes in a namespace give the right hints."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from trayagent.core.facts.network import Touched
from trayagent.net.hints import Hint, NetworkTouched
from trayagent.net.linux_netlink_changes import LinuxNetlink

if TYPE_CHECKING:
    from tests.net.conftest import World


class Heard:
    """A running watcher, and the hints that it gave."""

    def __init__(self, receive_buffer_bytes: int = 1 << 20) -> None:
        self.hints: list[Touched] = []
        self.source = LinuxNetlink(receive_buffer_bytes)
        self.source.start(self._take)

    def _take(self, hint: Hint) -> None:
        assert isinstance(hint, NetworkTouched)
        self.hints.append(hint.touched)

    def all(self) -> Touched:
        """Return everything that was touched since the last call."""
        found = Touched()
        for touched in self.hints:
            found |= touched
        self.hints.clear()
        return found


def test_what_is_repeated_gives_no_hint(world: World) -> None:
    """A refreshed lifetime, or the same address, route and link again, never wakes the agent."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.0.2.10/24 dev w", "addr add 2001:db8::5/64 dev w nodad")
        world.ip("route add 198.51.100.0/24 via 192.0.2.1", "route add 2001:db8:1::/48 via 2001:db8::1")
        heard = Heard()
        await world.turns()
        world.ip(
            "addr change 2001:db8::5/64 dev w nodad valid_lft forever preferred_lft 900",
            "addr change 192.0.2.10/24 dev w valid_lft forever preferred_lft 900",
            "route replace 198.51.100.0/24 via 192.0.2.1",
            "route replace 2001:db8:1::/48 via 2001:db8::1",
            "link set w txqueuelen 77",
            "link set w mtu 1400",
        )
        await world.turns()
        assert heard.hints == []

    world.run(body)


def test_a_switch_of_address_names_the_old_one(world: World) -> None:
    """After a change of address, one hint contains the old address and the routes that vanished with it."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.0.2.10/24 dev w", "route add default via 192.0.2.1")
        heard = Heard()
        world.ip(
            "addr del 192.0.2.10/24 dev w",
            "addr add 10.20.0.7/24 dev w",
            "route add default via 10.20.0.1",
        )
        await world.turns()
        assert heard.hints == [Touched(addresses=frozenset({"192.0.2.10"}), routes=frozenset({"w"}))]

    world.run(body)


def test_an_address_removed_and_given_again_is_touched(world: World) -> None:
    """An address that is removed and added again is touched: the snapshots are equal, but connections may be lost."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.0.2.10/24 dev w")
        heard = Heard()
        world.ip("addr del 192.0.2.10/24 dev w", "addr add 192.0.2.10/24 dev w")
        await world.turns()
        assert heard.all().addresses == {"192.0.2.10"}

    world.run(body)


@pytest.mark.parametrize("v6", [False, True])
def test_a_route_removed_and_given_again_is_touched(world: World, v6: bool) -> None:
    """A change within one batch is noticed, for either family."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.0.2.10/24 dev w", "addr add 2001:db8::5/64 dev w nodad")
        route = "2001:db8:1::/48 via 2001:db8::1" if v6 else "198.51.100.0/24 via 192.0.2.1"
        world.ip(f"route add {route}")
        heard = Heard()
        world.ip(f"route del {route}", f"route add {route}")
        await world.turns()
        assert heard.all() == Touched(routes=frozenset({"w"}))

    world.run(body)


@pytest.mark.parametrize("v6", [False, True])
def test_a_replaced_route_names_the_interface_that_lost_it(world: World, v6: bool) -> None:
    """The kernel sends only NEWROUTE with a flag, but the old route is gone."""

    async def body() -> None:
        world.wires("w", "x")
        for dev, net in (("w", 1), ("x", 2)):
            world.ip(f"addr add 10.0.{net}.2/24 dev {dev}", f"addr add fd00:{net}::2/64 dev {dev} nodad")
        old, new = ("fd00:1::1", "fd00:2::1") if v6 else ("10.0.1.1", "10.0.2.1")
        everything = "::/0" if v6 else "0.0.0.0/0"
        world.ip(f"route add {everything} via {old} dev w")
        heard = Heard()
        world.ip(f"route replace {everything} via {new} dev x")
        await world.turns()
        assert heard.all() == Touched(routes=frozenset({"w"}))

    world.run(body)


def test_a_carrier_flicker_is_touched_and_ends_well(world: World) -> None:
    """A flicker of the carrier touches the link, although its state is the same afterwards."""

    async def body() -> None:
        world.wires("w")
        heard = Heard()
        world.ip("link set far-w down", "link set far-w up")
        await world.until(lambda: any("w" in t.links for t in heard.hints), "the flicker is told")

    world.run(body)


def test_routes_vanish_silently_with_their_link_and_their_return_is_reported(world: World) -> None:
    """IPv4 routes vanish with their link without a message. When they return, they count as new."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.0.2.10/24 dev w", "route add default via 192.0.2.1")
        heard = Heard()
        world.ip("link set w down")
        await world.turns()
        touched = heard.all()
        assert "w" in touched.links
        assert "w" in touched.routes
        world.ip("link set w up")
        await world.until(lambda: heard.hints, "the link is up")
        await world.turns(50)
        heard.all()
        world.ip("route add default via 192.0.2.1")
        await world.turns()
        assert heard.hints == [Touched()]

    world.run(body)


@pytest.mark.parametrize(
    "news",
    [
        "addr add 192.0.2.77/24 dev w",
        "route add 198.51.100.0/24 dev w",
        "route add unreachable 203.0.113.0/24",
        "route add 203.0.113.0/24 dev w table 77",
        "rule add to 203.0.113.0/24 lookup 77",
    ],
)
def test_what_was_not_there_gives_a_hint_that_touched_nothing(world: World, news: str) -> None:
    """A new link, address or route gives a hint to read the network again, but touches no connection."""

    async def body() -> None:
        world.wires("w")
        heard = Heard()
        world.ip(news)
        await world.turns()
        assert heard.hints == [Touched()]

    world.run(body)


def test_a_tentative_address_gives_a_hint_when_it_is_ready(world: World) -> None:
    """A tentative address gives one hint when it appears, and one when duplicate address detection ends."""

    async def body() -> None:
        world.wires("w")
        heard = Heard()
        await world.turns(50)
        heard.all()
        world.ip("addr add 2001:db8::5/64 dev w")
        await world.turns()
        assert heard.hints
        heard.hints.clear()
        await world.until(lambda: heard.hints, "the address is ready")
        assert not heard.all()

    world.run(body)


def test_a_vpn_that_comes_and_goes_is_touched(world: World) -> None:
    """A tun device appears, gets an address and a route, and vanishes with them."""

    async def body() -> None:
        heard = Heard()
        tun = world.tun("tun0")
        world.ip("link set tun0 addrgenmode none", "link set tun0 up", "addr add 10.8.0.2/24 dev tun0")
        world.ip("route add 10.99.0.0/24 dev tun0")
        await world.turns()
        assert heard.all().links == {"tun0"}
        os.close(tun)
        await world.until(lambda: any("10.8.0.2" in t.addresses for t in heard.hints), "the VPN is gone")
        touched = heard.all()
        assert "tun0" in touched.links
        assert "tun0" in touched.routes

    world.run(body)


def test_a_bridge_port_that_leaves_is_no_link_that_vanished(world: World) -> None:
    """If a port leaves a bridge, the kernel sends DELLINK for the bridge's family, but the port still exists."""

    async def body() -> None:
        world.wires("w")
        world.ip("link add br0 type bridge", "link set w master br0")
        heard = Heard()
        await world.turns(50)
        heard.all()
        world.ip("link set w nomaster")
        await world.turns()
        assert heard.hints
        assert not heard.all()

    world.run(body)


def test_a_lost_message_says_so_and_the_watch_goes_on(world: World) -> None:
    """A queue overflow gives `lost`; afterwards the new state is known and watched."""

    async def body() -> None:
        world.wires("w")
        heard = Heard(receive_buffer_bytes=2048)
        world.ip(*(f"addr add 10.1.{n // 250}.{n % 250 + 1}/32 dev w" for n in range(600)))
        await world.until(lambda: heard.hints, "the overflow is told")
        assert heard.all().lost
        await world.turns(50)
        heard.all()
        world.ip("addr change 10.1.2.90/32 dev w preferred_lft 900")
        await world.turns()
        assert heard.hints == []
        world.ip("addr del 10.1.1.1/32 dev w")
        await world.turns()
        assert heard.all().addresses == {"10.1.1.1"}

    world.run(body)


@pytest.mark.parametrize("prefix", ["192.168.77.0/24", "192.168.77.7/32", "2001:db8:7::/64"])
def test_a_local_route_without_an_address_gives_a_hint(world: World, prefix: str) -> None:
    """The addresses of `ip route add local` come and go with that route alone."""

    async def body() -> None:
        heard = Heard()
        for change in ("add", "del"):
            world.ip(f"route {change} local {prefix} dev lo")
            await world.turns()
            assert heard.hints == [Touched()]
            heard.all()

    world.run(body)


def test_an_idle_watch_does_not_wake_up(world: World) -> None:
    """Without changes the loop waits in one call, without a timer."""

    async def body() -> None:
        Heard()
        await world.turns()
        loop = asyncio.get_running_loop()
        selects: list[float | None] = []
        real = loop._selector.select  # type: ignore[attr-defined]  # the loop waits only in this call

        def counting(timeout: float | None = None) -> object:
            selects.append(timeout)
            return real(timeout)

        loop._selector.select = counting  # type: ignore[attr-defined]  # restores the original
        before = time.monotonic()
        await asyncio.sleep(0.2)
        assert time.monotonic() - before >= 0.19
        assert len([s for s in selects if s]) <= 2  # for the test's own timer and the clock's last tick

    world.run(body)


def test_a_closed_watch_says_nothing(world: World) -> None:
    """No hint follows `close`, which may be called twice."""

    async def body() -> None:
        world.wires("w")
        heard = Heard()
        heard.source.close()
        heard.source.close()
        world.ip("addr add 192.0.2.10/24 dev w")
        await world.turns()
        assert heard.hints == []

    world.run(body)
