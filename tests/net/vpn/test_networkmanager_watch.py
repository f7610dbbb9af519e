"""The watcher of NetworkManager: the network's name and portal, restarts, malformed data and a dead bus."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant
from msgspec.structs import replace

from tests.net.test_linux_logind import Bus, run, until
from tests.net.vpn.conftest import scene, watching
from tests.net.vpn.fake_networkmanager import (
    CONFIG,
    CORP,
    DEVICE,
    LAN,
    POINT,
    TUNNEL,
    FakeNetworkManager,
    variants,
)
from trayagent.core.facts.network_manager import ManagerFacts, NetworkName
from trayagent.net.vpn import networkmanager_constants as words


def test_the_networks_name_is_the_ssid_and_the_connection(bus: Bus) -> None:
    """The first hint has both names of the connection with the default route, and its interface."""

    async def body() -> None:
        async with scene(bus) as (_, watched):
            assert watched.told[0].network == NetworkName("Cafe profile", "Café", "wlan0")
            assert str(watched.told[0].network) == "Café"
            assert watched.told[0].connectivity == "full"

    run(body())


def test_another_network_is_reported_by_its_name(bus: Bus) -> None:
    """If a cable takes the default route, its connection's name is reported, without an SSID."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            cable = f"{words.ACTIVE_PATHS}2"
            told = {"Id": "Cable", "Uuid": "9", "Type": "802-3-ethernet", "State": 2, "Devices": [TUNNEL]}
            manager.objects[TUNNEL, words.DEVICE] = {"Interface": "eth0"}
            await manager.change(cable, words.ACTIVE, **told)
            await manager.change(words.ROOT, words.NAME, PrimaryConnection=cable)
            await until(lambda: watched.facts.network == NetworkName("Cable", None, "eth0"), "the cable")
            await manager.change(words.ROOT, words.NAME, PrimaryConnection="/", Connectivity=1)
            await until(lambda: watched.facts.network is None, "no network")
            assert watched.facts.connectivity == "none"

    run(body())


def test_below_a_vpn_with_the_default_route_the_network_keeps_its_name(bus: Bus) -> None:
    """A VPN that is the primary connection is not a network; its underlay is."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.activated_as(path)
            await manager.change(words.ROOT, words.NAME, PrimaryConnection=path)
            await watched.until_vpn("up")
            assert str(watched.facts.network) == "Café"

    run(body())


def test_a_vpn_that_stands_on_itself_is_no_network(bus: Bus) -> None:
    """A VPN that is its own underlay is malformed and gives no network's name."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.change(path, words.ACTIVE, SpecificObject=path)
            await manager.change(words.ROOT, words.NAME, PrimaryConnection=path)
            await until(lambda: watched.facts.network is None, "no network is known")

    run(body())


def test_a_portal_comes_and_goes(bus: Bus) -> None:
    """Each value of NMConnectivityState has its word, and an unknown value is "unknown"."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            for number, word in ((2, "portal"), (3, "limited"), (1, "none"), (4, "full"), (77, "unknown")):
                await manager.change(words.ROOT, words.NAME, Connectivity=number)
                await until(lambda word=word: watched.facts.connectivity == word, word)  # type: ignore[misc]

    run(body())


def test_a_restarted_networkmanager_is_read_again(bus: Bus) -> None:
    """When NetworkManager ends, all facts are dropped. A new one is read, even if its objects appear late."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            await manager.activated_as(await manager.connect(3))
            await watched.until_vpn("up")
            manager.leave()
            await until(lambda: watched.facts == ManagerFacts(running=False), "it is gone")
            assert watched.source.problem == "NetworkManager is not running"
            later = await FakeNetworkManager.on(bus.address, named=False)
            root = later.objects.pop((words.ROOT, words.NAME))
            await later.take_name()
            await until(lambda: later.asked > 3, "it was asked again and again")
            assert not watched.facts.running
            later.objects[words.ROOT, words.NAME] = root
            await until(lambda: watched.facts.running, "the next one is read")
            assert watched.facts.vpns == ()
            assert watched.source.problem is None
            later.leave()
            await until(lambda: not watched.facts.running, "it is gone too")

    run(body())


def test_no_networkmanager_is_quiet_until_one_comes(bus: Bus) -> None:
    """Without NetworkManager there are no facts, and `problem` gives the reason. One that starts later is read."""

    async def body() -> None:
        async with watching(bus.address) as watched:
            await asyncio.wait_for(watched.source.listening.wait(), 10)
            assert watched.source.problem == "NetworkManager is not running"
            assert watched.told == []
            manager = await FakeNetworkManager.on(bus.address)
            await until(lambda: watched.facts.running, "it is read")
            assert watched.source.problem is None
            manager.leave()

    run(body())


def test_without_a_system_bus_the_watch_rests(tmp_path: Path) -> None:
    """On a machine without a system bus, the watcher does not try again."""

    async def body() -> None:
        async with watching(f"unix:path={tmp_path}/none") as watched:
            task = watched.source._watching
            assert task is not None
            await asyncio.wait_for(task, 10)
            assert "no system bus" in (watched.source.problem or "")
            assert watched.told == []

    run(body())


def test_a_bus_that_died_is_found_again(bus: Bus) -> None:
    """When bus and NetworkManager die, there are no facts. They return over the new bus."""

    async def body() -> None:
        async with scene(bus) as (_, watched):
            bus.stop()
            await until(lambda: not watched.facts.running, "the end of the bus is told")
            assert "went away" in (watched.source.problem or "")
            bus.start()
            manager = await FakeNetworkManager.on(bus.address)
            await until(lambda: watched.facts.running, "it is read again")
            assert watched.source.problem is None
            manager.leave()

    run(body())


NONSENSE: list[dict[str, Any]] = [
    {"Id": Variant("u", 3)},
    {"Devices": Variant("s", "none")},
    {"Devices": Variant("as", ["not a path"])},
    {"State": Variant("s", "up")},
    {"Type": Variant("ao", [])},
    {"VpnState": Variant("d", 1.5)},
    {"SpecificObject": Variant("b", False)},
    {"Ip4Config": Variant("a{sv}", {})},
]


@pytest.mark.parametrize("wrong", NONSENSE, ids=",".join)
def test_malformed_properties_are_logged_once_and_not_fatal(
    bus: Bus, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Malformed data about one active connection does not affect another."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            bad = await manager.connect(3, "Bad VPN", "3")
            for _ in range(3):
                await manager.change(bad, words.ACTIVE, **wrong)
                await manager.change(bad, words.VPN, **wrong)
            await manager.activated_as(await manager.connect(4))
            assert (await watched.until_vpn("up")).interface == "tun0"

    with caplog.at_level(logging.WARNING):
        run(body())
    named = [record.getMessage() for record in caplog.records]
    assert len(named) <= 1, named
    assert all(next(iter(wrong)) in line for line in named)


def test_a_malformed_root_is_not_fatal(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """Malformed properties of the manager count as unknown until they are correct."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            wrong = {"Connectivity": Variant("s", "good"), "PrimaryConnection": Variant("u", 1)}
            await manager.change(words.ROOT, words.NAME, **wrong, Devices=Variant("s", "x"))
            nothing = ManagerFacts(running=True)
            await until(lambda: replace(watched.facts, links=()) == nothing, "nothing is known")
            await manager.change(words.ROOT, words.NAME, Connectivity=4, PrimaryConnection=LAN)
            await until(lambda: str(watched.facts.network) == "Café", "it is well again")

    with caplog.at_level(logging.WARNING):
        run(body())
    assert len(caplog.records) == 2


def test_devices_that_are_no_paths_leave_a_vpn_without_its_interface(bus: Bus) -> None:
    """Invalid device paths are skipped. The VPN's interface is found when there are valid ones."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.change(words.ROOT, words.NAME, Devices=Variant("as", ["not a path"]))
            await manager.change(path, words.ACTIVE, Ip4Config=CONFIG)
            await manager.state(path, 2, 1)
            assert (await watched.until_vpn("up")).interface is None
            await manager.activated_as(path)
            await until(lambda: watched.vpn().interface == "tun0", "its interface")
            assert watched.source.problem is None

    run(body())


def test_malformed_signals_are_skipped(bus: Bus) -> None:
    """Wrong signatures, unknown objects and interfaces are ignored, and the watcher continues."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await watched.until_vpn("connecting")
            for signature, values in (("s", ["x"]), ("ss", ["x", "y"]), ("", [])):
                await manager.signal(path, words.ACTIVE, "StateChanged", signature, values)
                await manager.signal(path, words.PROPERTIES, "PropertiesChanged", signature, values)
                arguments = [*values] if signature else []
                await manager.signal(
                    words.OBJECTS, words.OBJECT_MANAGER, "InterfacesAdded", signature, arguments
                )
            await manager.signal(f"{words.ACTIVE_PATHS}77", words.ACTIVE, "StateChanged", "uu", [4, 9])
            await manager.activated_as(path)
            await watched.until_vpn("up")
            assert watched.states() == ["connecting", "up"]

    run(body())


def test_another_process_on_the_bus_is_not_trusted(bus: Bus) -> None:
    """Signals that another process sends directly to the watcher change nothing."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            await manager.activated_as(await manager.connect(3))
            await watched.until_vpn("up")
            unnamed = await FakeNetworkManager.on(bus.address, named=False)
            own = watched.source._bus
            assert own is not None
            for path, body in ((words.ROOT, {"Connectivity": 2}), (f"{words.ACTIVE_PATHS}3", {"State": 4})):
                await unnamed.signal_to(own._bus.unique_name, path, body)
            await unnamed.bus.request_name(f"{words.NAME}.stranger")
            await until(lambda: watched.source._plugins._path_of, "the stranger's last word was heard")
            unnamed.leave()
            assert watched.source._facts() == watched.facts

    run(body())


def test_a_burst_is_reported_at_its_beginning_and_its_end(bus: Bus) -> None:
    """Of 200 quick changes, the first is reported immediately, the last always, and only a few in between."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            await asyncio.sleep(0.06)  # wait until the burst of the start is over
            before, began = len(watched.told), time.monotonic()
            for number in [2, 3] * 100:
                await manager.change(words.ROOT, words.NAME, Connectivity=number)
                # Give the bus time, because dbus-fast closes a connection whose socket buffer is full.
                await manager.take_name()
            await manager.change(words.ROOT, words.NAME, Connectivity=1)
            await until(lambda: watched.facts.connectivity == "none", "the last")
            took_s = time.monotonic() - began
            assert len(watched.told) - before <= 2 + took_s / 0.05

    run(body())


def test_a_signal_without_a_change_is_not_reported(bus: Bus) -> None:
    """A scan, a signal strength or another client's connection gives no hint."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            before = len(watched.told)
            await manager.change(POINT, words.ACCESS_POINT, Ssid=b"Other")
            await manager.change(DEVICE, words.DEVICE, Interface="wlan9")
            await manager.change(LAN, words.ACTIVE, Id="Cafe profile")
            await manager.change(words.ROOT, words.NAME, Connectivity=2)
            await until(lambda: len(watched.told) > before, "the next news")
            assert watched.told[before:] == [watched.facts]
            assert watched.facts.network == NetworkName("Cafe profile", "Café", "wlan0")

    run(body())


def test_a_facts_name_finds_the_most_useful_of_two(bus: Bus) -> None:
    """Of two connections with the same name, the one that is up counts. A UUID selects one of them."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            await manager.end(await manager.connect(3, uuid="0"), 9)
            await watched.until_vpn("needs-sign-in")
            await manager.activated_as(await manager.connect(4))
            assert (await watched.until_vpn("up")).uuid == CORP
            other = watched.facts.vpn("0")
            assert other is not None
            assert other.state == "needs-sign-in"

    run(body())


def test_each_network_has_its_name_and_whether_it_is_metered(bus: Bus) -> None:
    """A second network has its own name. The user's choice and the guess of a phone change `metered` at once."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            cable, device = f"{words.ACTIVE_PATHS}7", f"{words.DEVICE_PATHS}7"
            manager.objects[device, words.DEVICE] = {"Interface": "eth0", "IpInterface": "eth0", "Metered": 4}
            added = {
                "Id": "Wired", "Uuid": "7", "Type": "802-3-ethernet", "State": 2, "Vpn": False,
                "Devices": [device], "SpecificObject": "/", "Ip4Config": "/", "Ip6Config": "/",
            }  # fmt: skip
            manager.objects[cable, words.ACTIVE] = added
            told = {words.ACTIVE: variants(added)}
            await manager.signal(
                words.OBJECTS, words.OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [cable, told]
            )
            await until(lambda: watched.facts.link("eth0") is not None, "the cable is there")
            link = watched.facts.link("eth0")
            assert link is not None
            assert (link.name.connection, link.metered) == ("Wired", False)
            wifi = watched.facts.link("wlan0")
            assert wifi is not None
            assert (str(wifi.name), wifi.metered) == ("Café", None)
            for number, metered in ((1, True), (2, False), (3, True), (0, None)):
                await manager.change(device, words.DEVICE, Metered=number)
                await until(
                    lambda metered=metered: (link := watched.facts.link("eth0")) and link.metered is metered,  # type: ignore[misc]
                    f"metered={number}",
                )

    run(body())
