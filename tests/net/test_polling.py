"""Polling, compared with the kernel's own reports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import netifaces
import pytest

from trayagent.core.facts.network import Address, Interface, Kind, Lookup, Route, Snapshot, Touched
from trayagent.net import linux_snapshot, polling
from trayagent.net.hints import Hint, NetworkTouched

if TYPE_CHECKING:
    from tests.net.conftest import World


def test_polling_finds_the_same_addresses_and_routes_as_the_kernel(world: World) -> None:
    """Polling finds addresses with prefix lengths, and source and interface for peers of both families."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.168.10.2/24 dev w", "addr add fd00::2/64 dev w nodad")
        world.ip("route add default via 192.168.10.1", "route add ::/0 via fd00::1")
        asked = [
            Lookup("198.51.100.7"),
            Lookup("192.168.10.9"),
            Lookup("2001:db8::1"),
            Lookup("fd00::9"),
            Lookup("127.0.0.1"),
            Lookup("198.51.100.7", local="192.0.2.77"),
            Lookup("fe80::1", scope="gone"),
        ]
        here, kernel = polling.read(asked), linux_snapshot.read(asked)
        for mine, theirs in zip(here.interfaces, kernel.interfaces, strict=True):
            assert (mine.index, mine.name) == (theirs.index, theirs.name)
            assert {str(a) for a in mine.addresses} == {str(a) for a in theirs.addresses}
        for lookup in asked:
            mine_way, theirs_way = here.matched[lookup], kernel.matched[lookup]
            assert (mine_way and (mine_way.interface, mine_way.source, mine_way.gateway)) == (
                theirs_way and (theirs_way.interface, theirs_way.source, theirs_way.gateway)
            ), lookup

    world.run(body)


def test_a_change_is_hinted_with_what_went(world: World) -> None:
    """The next poll finds the old address gone and the new one present."""

    async def body() -> None:
        world.wires("w")
        world.ip("addr add 192.168.10.2/24 dev w")
        hints: list[Hint] = []
        source = polling.Polling(interval_s=0.01)
        source.start(hints.append)
        world.ip("addr del 192.168.10.2/24 dev w", "addr add 10.20.0.7/24 dev w")
        await world.until(lambda: hints, "the change is seen")
        source.close()
        source.close()
        assert hints == [NetworkTouched(Touched(addresses=frozenset({"192.168.10.2"})))]

    world.run(body)


def test_an_interface_that_vanishes_while_it_is_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface that vanishes during a poll is left out. The library raises ValueError for it."""

    def gone(name: str) -> dict[int, list[dict[str, str]]]:
        raise ValueError(f"You must specify a valid interface name: {name}")

    monkeypatch.setattr(netifaces, "ifaddresses", gone)
    assert polling.read().interfaces == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lo", "loopback"),
        ("lo0", "loopback"),
        ("en0", "physical"),
        ("wlp3s0", "physical"),
        ("utun4", "vpn"),
        ("wg0", "vpn"),
        ("docker0", "virtual"),
        ("br-1f2e", "virtual"),
        ("awdl0", "virtual"),
    ],
)
def test_a_kind_is_guessed_from_the_name(name: str, kind: Kind) -> None:
    """Without other information, the kind follows from the usual interface names of the systems."""
    assert polling.kind_of_name(name) == kind


def test_what_went_between_two_looks_is_named() -> None:
    """A vanished interface, address or default route is touched. A new one is not."""
    wire = Interface(2, "w", "physical", True, (Address("192.0.2.1", 24),))
    new = Interface(3, "v", "physical", True, (Address("192.0.2.9", 24),))
    before = Snapshot((wire,), (Route("0.0.0.0/0", "w", "192.0.2.254"),))
    assert polling.touched_between(before, Snapshot((new,))) == Touched(
        links=frozenset({"w", "v"}), addresses=frozenset({"192.0.2.1"}), routes=frozenset({"w"})
    )
    assert not polling.touched_between(before, before)


def test_equal_looks_give_no_hint() -> None:
    """Several polls of an unchanged network give no hint."""

    async def body() -> None:
        hints: list[Hint] = []
        source = polling.Polling(interval_s=0.001)
        real, third, looks = source._compare, asyncio.Event(), iter(range(3))

        def counting() -> None:
            real()
            if next(looks, None) is None:
                third.set()

        source._compare = counting  # type: ignore[method-assign]  # to count the calls of the original
        source.start(hints.append)
        await asyncio.wait_for(third.wait(), 10)
        source.close()
        assert hints == []

    asyncio.run(body())
