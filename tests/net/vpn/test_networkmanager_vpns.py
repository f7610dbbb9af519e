"""The reports about a VPN's life, with a fake NetworkManager."""

from __future__ import annotations

import pytest

from tests.net.test_linux_logind import Bus, run, until
from tests.net.vpn.conftest import scene, watching
from tests.net.vpn.fake_networkmanager import CONFIG, CORP, DEVICE, TUNNEL, FakeNetworkManager, FakePlugin
from trayagent.net.vpn import networkmanager_constants as words


def test_a_vpn_is_reported_from_its_beginning_to_its_end(bus: Bus) -> None:
    """A VPN is connecting, then up with its interface, and down after the user ended it."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            assert not (await watched.until_vpn("connecting")).needs_secret
            await manager.activated_as(path)
            up = await watched.until_vpn("up")
            assert (up.interface, up.uuid, up.reason) == ("tun0", CORP, None)
            await manager.end(path, 2)
            down = await watched.until_vpn("down")
            assert (down.by_user, down.reason, down.interface) == (True, 2, None)
            assert watched.states() == ["connecting", "up", "down"]

    run(body())


@pytest.mark.parametrize(
    ("reason", "state"),
    [(9, "needs-sign-in"), (10, "needs-sign-in"), (0, "failed"), (6, "failed"), (8, "failed"),
     (4, "failed"), (2, "down"), (3, "down"), (11, "down"), (12, "down"), (14, "down")],
)  # fmt: skip
def test_why_it_ended_decides_its_state(bus: Bus, reason: int, state: str) -> None:
    """Missing secrets and a refused login need the user. A removed network means down. Other reasons are failures."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await watched.until_vpn("connecting")
            await manager.end(path, reason)
            ended = await watched.until_vpn(state)
            assert (ended.reason, ended.by_user) == (reason, reason == 2)

    run(body())


@pytest.mark.parametrize("first", ["plug-in", "manager"])
def test_a_login_that_only_the_plugin_calls_refused_needs_sign_in(bus: Bus, first: str) -> None:
    """Reason 0 and the plug-in's Failure 0 combine in either order, and another VPN's failure does not count."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            plugin = await FakePlugin.on(bus.address, f"{words.NAME}.openvpn.Connection_3")
            path = await manager.connect(3)
            other = await manager.connect(4, "Other VPN", "4")
            await watched.until_vpn("connecting", "Other VPN")
            if first == "plug-in":
                await plugin.fail(0)
                await until(lambda: watched.source._plugins._path_of, "the plug-in is known")
            await manager.end(path, 0)
            if first == "manager":
                await watched.until_vpn("failed")
                await plugin.fail(0)
            await watched.until_vpn("needs-sign-in")
            await manager.end(other, 0)
            await watched.until_vpn("failed", "Other VPN")
            plugin.leave()

    run(body())


@pytest.mark.parametrize("failure", [1, 2])
def test_another_failure_of_the_plugin_is_no_refused_login(bus: Bus, failure: int) -> None:
    """A failed connect and a bad IP configuration do not need the user."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            plugin = await FakePlugin.on(bus.address, f"{words.NAME}.openvpn.Connection_3")
            path = await manager.connect(3)
            await watched.until_vpn("connecting")
            await plugin.fail(failure)
            plugin.leave()
            await until(lambda: not watched.source._plugins._path_of, "the plug-in was heard to the end")
            await manager.end(path, 0)
            await watched.until_vpn("failed")

    run(body())


def test_a_plugin_that_serves_one_connection_means_the_one_that_connects(bus: Bus) -> None:
    """An older plug-in's name has no number, so its failure counts for the VPN that is connecting."""

    async def body() -> None:
        plugin = await FakePlugin.on(bus.address, f"{words.NAME}.vpnc")
        async with scene(bus) as (manager, watched):
            other = await manager.connect(4, "Other VPN", "4")
            await manager.activated_as(other)
            await watched.until_vpn("up", "Other VPN")
            path = await manager.connect(3)
            await watched.until_vpn("connecting")
            await plugin.fail(0)
            plugin.leave()
            await until(lambda: not watched.source._plugins._path_of, "the plug-in was heard to the end")
            await manager.end(path, 0)
            await watched.until_vpn("needs-sign-in")
            await manager.end(other, 0)
            await watched.until_vpn("failed", "Other VPN")

    run(body())


def test_a_new_attempt_clears_the_old_end(bus: Bus) -> None:
    """A new attempt clears the earlier failure: a good password after a refusal gives connecting and up."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            await manager.end(await manager.connect(3), 9)
            await watched.until_vpn("needs-sign-in")
            path = await manager.connect(4)
            await watched.until_vpn("connecting")
            await manager.activated_as(path)
            await watched.until_vpn("up")
            manager.forget(path)
            gone = [path, [words.ACTIVE, words.VPN]]
            await manager.signal(words.OBJECTS, words.OBJECT_MANAGER, "InterfacesRemoved", "oas", gone)
            await until(lambda: watched.facts.vpn("Corp VPN") is None, "nothing is known of it")

    run(body())


def test_a_wait_for_a_secret_is_reported(bus: Bus) -> None:
    """While NetworkManager waits for the password, the VPN is connecting and asking."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.change(path, words.VPN, VpnState=2)
            await until(lambda: watched.vpn().needs_secret, "it asks")
            assert watched.vpn().state == "connecting"
            await manager.change(path, words.VPN, VpnState=3)
            await until(lambda: not watched.vpn().needs_secret, "it was told")

    run(body())


def test_wireguard_has_its_own_device(bus: Bus) -> None:
    """A WireGuard connection is also a VPN, and its interface is that of its device."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3, kind="wireguard")
            await watched.until_vpn("connecting")
            await manager.activated_as(path, "wg0")
            assert (await watched.until_vpn("up")).interface == "wg0"
            await manager.state(path, 3, 2)
            assert (await watched.until_vpn("down")).by_user

    run(body())


@pytest.mark.parametrize(("kind", "by_user"), [("wireguard", True), ("vpn", False)])
def test_wireguard_that_the_user_took_down_is_down(bus: Bus, kind: str, by_user: bool) -> None:
    """The reason "device disconnected" means the user's own action for WireGuard, but not for other VPNs."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3, kind=kind)
            await manager.activated_as(path, "wg0")
            await watched.until_vpn("up")
            await manager.state(path, 4, 3)
            assert (await watched.until_vpn("down")).by_user == by_user

    run(body())


def test_a_vpn_that_was_up_before_the_watch_is_found(bus: Bus) -> None:
    """An agent that starts later reads state and interface without any signal."""

    async def body() -> None:
        manager = await FakeNetworkManager.on(bus.address)
        path = await manager.connect(3)
        await manager.activated_as(path)
        manager.objects[words.ROOT, words.NAME]["ActiveConnections"].append(path)
        async with watching(bus.address) as watched:
            assert (await watched.until_vpn("up")).interface == "tun0"
            assert len(watched.told) == 1
        manager.leave()

    run(body())


@pytest.mark.parametrize("config", [CONFIG, "/"])
def test_a_vpn_without_an_interface_is_up_all_the_same(bus: Bus, config: str) -> None:
    """A VPN without an interface (IPsec) is up anyway, and its interface is not queried again."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.change(path, words.ACTIVE, Ip4Config=config)
            await manager.state(path, 2, 1)
            assert (await watched.until_vpn("up")).interface is None
            asked = manager.asked
            await manager.change(words.ROOT, words.NAME, Connectivity=2)
            await until(lambda: watched.facts.connectivity == "portal", "the next news")
            assert manager.asked == asked

    run(body())


def test_a_found_interface_is_not_queried_again(bus: Bus) -> None:
    """A known interface is not queried again when containers add devices, only after a new IP configuration."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            path = await manager.connect(3)
            await manager.activated_as(path)
            assert (await watched.until_vpn("up")).interface == "tun0"
            asked, late = manager.asked, f"{words.ROOT}/Devices/9"
            await manager.change(words.ROOT, words.NAME, Devices=[DEVICE, TUNNEL, late], Connectivity=2)
            await until(lambda: watched.facts.connectivity == "portal", "the next news")
            assert manager.asked == asked
            other = f"{words.ROOT}/IP4Config/9"
            manager.objects[late, words.DEVICE] = {"Interface": "tun1", "Ip4Config": other}
            manager.objects[TUNNEL, words.DEVICE]["Ip4Config"] = "/"
            await manager.change(path, words.ACTIVE, Ip4Config=other)
            await until(lambda: watched.vpn().interface == "tun1", "its other interface")
            assert watched.states()[-1] == "up"

    run(body())
