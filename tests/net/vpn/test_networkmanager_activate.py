"""Requests to NetworkManager to bring a VPN up, which it may refuse with a reason."""

from __future__ import annotations

import pytest

from tests.net.test_linux_logind import Bus, run
from tests.net.vpn.conftest import scene, watching
from tests.net.vpn.fake_networkmanager import CORP, FakeNetworkManager
from trayagent.errors import TrayagentError
from trayagent.net.vpn import networkmanager_activate
from trayagent.net.vpn import networkmanager_constants as words

HOME, VPN, WG = (f"{words.SETTINGS}/{n}" for n in (1, 2, 3))


def fill(manager: FakeNetworkManager) -> None:
    """Save a Wi-Fi, a VPN and a WireGuard connection, and one that vanished since it was listed."""
    manager.profiles = {
        HOME: {"id": "Corp VPN", "uuid": "1", "type": words.WIFI},
        VPN: {"id": "Corp VPN", "uuid": CORP, "type": "vpn"},
        WG: {"id": "Guard", "uuid": "3", "type": "wireguard"},
        f"{words.SETTINGS}/4": {"id": "Nonsense"},
    }


@pytest.mark.parametrize(("name", "path"), [("Corp VPN", VPN), (CORP, VPN), ("Guard", WG)])
def test_a_vpn_is_activated_by_name_or_uuid(bus: Bus, name: str, path: str) -> None:
    """Only this VPN connection is activated, never a Wi-Fi of that name; NetworkManager chooses the network."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            await watched.source.activate(name)
            assert manager.activated == [[path, "/", "/"]]

    run(body())


def test_an_active_vpn_is_taken_down_before_it_is_brought_up_again(bus: Bus) -> None:
    """Only the active connection of that VPN is taken down, and the new one starts after it is gone."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            for number, uuid in ((1, "1"), (2, CORP)):
                manager.objects[f"{words.ACTIVE_PATHS}{number}", words.ACTIVE] = {"Uuid": uuid}
            paths = [f"{words.ACTIVE_PATHS}{number}" for number in (1, 2, 7)]
            manager.objects[words.ROOT, words.NAME]["ActiveConnections"] = paths
            await watched.source.activate("Corp VPN", restart=True)
            assert manager.deactivated == [[paths[1]]]
            assert paths[1] not in manager.objects[words.ROOT, words.NAME]["ActiveConnections"]
            assert manager.activated == [[VPN, "/", "/"]]
            await watched.source.activate("Guard", restart=True)
            assert len(manager.deactivated) == 1

    run(body())


def test_a_vpn_that_does_not_go_down_is_an_error(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """If NetworkManager answers but the plug-in hangs, an error is raised and no second connection is started."""
    monkeypatch.setattr(networkmanager_activate, "DOWN_S", 0.2)

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            manager.stubborn = True
            path = f"{words.ACTIVE_PATHS}1"
            manager.objects[path, words.ACTIVE] = {"Uuid": CORP}
            manager.objects[words.ROOT, words.NAME]["ActiveConnections"] = [path]
            with pytest.raises(TrayagentError, match='"Corp VPN" does not go down') as error:
                await watched.source.activate("Corp VPN", restart=True)
            assert "nmcli connection down 'Corp VPN'" in error.value.hint
            assert manager.activated == []

    run(body())


def test_a_bus_that_dies_while_the_profiles_are_read_is_an_error(bus: Bus) -> None:
    """If the bus dies between the list and the profiles, the error says so."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            manager.dies_at = "GetSettings", bus.stop
            with pytest.raises(TrayagentError, match="does not list its connections") as error:
                await watched.source.activate("Corp VPN")
            assert error.value.code == "networkmanager-missing"

    run(body())


def test_an_unknown_name_is_refused_with_the_known_ones(bus: Bus) -> None:
    """The error lists the known names, and NetworkManager receives no request to change anything."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            with pytest.raises(TrayagentError) as caught:
                await watched.source.activate("Crop VPN")
            assert caught.value.code == "vpn-unknown"
            assert '"Corp VPN", "Guard"' in caught.value.hint
            assert manager.activated == []
            assert await watched.source.vpn_names() == ("Corp VPN", "Guard")

    run(body())


@pytest.mark.parametrize(
    ("kind", "code"),
    [("ConnectionAlreadyActive", "vpn-active"), ("PermissionDenied", "vpn-refused"),
     ("UnknownConnection", "vpn-refused")],
)  # fmt: skip
def test_a_refusal_says_why_and_what_to_do(bus: Bus, kind: str, code: str) -> None:
    """The error has NetworkManager's own words, and the command to do the same by hand."""

    async def body() -> None:
        async with scene(bus) as (manager, watched):
            fill(manager)
            manager.profiles[VPN]["id"] = "$Corp VPN"
            manager.refusal = (f"{words.NAME}.{kind}", "no, thank you")
            with pytest.raises(TrayagentError) as caught:
                await watched.source.activate("$Corp VPN")
            assert caught.value.code == code
            assert code == "vpn-active" or "no, thank you" in caught.value.title
            assert "nmcli" in caught.value.hint
            assert " '$Corp VPN'" in caught.value.hint  # the command is quoted for a shell

    run(body())


def test_without_networkmanager_it_is_named_as_missing(bus: Bus) -> None:
    """The error names NetworkManager if there is none on the bus."""

    async def body() -> None:
        async with watching(bus.address) as watched:
            with pytest.raises(TrayagentError) as caught:
                await watched.source.activate("Corp VPN")
            assert caught.value.code == "networkmanager-missing"

    run(body())
