"""The real NetworkManager with a real OpenVPN server: what NetworkManager reports about each event of a VPN."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.secret_agent import VPN_HINTS, SecretAgent
from tests.net.test_linux_logind import until
from tests.net.vpn.conftest import Watched, watching
from trayagent.core.facts.network_manager import ManagerFacts, NetworkName
from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Lab
from trayagent.sandbox.inside import holder
from trayagent.sandbox.network_map import INTERNAL, SERVER
from trayagent.sandbox.networkmanager import NetworkManager
from trayagent.sandbox.openvpn import OpenVpn

SAVED, ASKED = "Saved VPN", "Asked VPN"
LIMIT_S = 60.0
TRIES, PLUGIN_STOPPED = 4, 4


def watch(manager: NetworkManager, body: Callable[[Watched], Awaitable[None]]) -> None:
    """Run a test's coroutine with a NetworkManager watch that has completed its first reading."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S), watching(manager.bus_address) as watched:
            await until(lambda: watched.facts.running, "NetworkManager is read")
            await body(watched)

    asyncio.run(limited())


@dataclass(slots=True)
class Desk:
    """A laptop at home whose network NetworkManager manages, and a VPN server that accepts the password `right`."""

    lab: Lab
    manager: NetworkManager
    server: OpenVpn

    def run(self, body: Callable[[Watched], Awaitable[None]]) -> None:
        """Run a test's coroutine with a NetworkManager watch."""
        watch(self.manager, body)


@contextmanager
def skipping() -> Iterator[None]:
    """If the machine cannot run the test, skip.

    In CI, skip only if the reason is that only root may use /dev/net/tun.
    """
    try:
        yield
    except TrayagentError as error:
        of_root = error.code == "tun-missing" and os.getuid() != 0
        if of_root or (error.code in UNAVAILABLE and not os.environ.get("CI")):
            pytest.skip(str(error))
        raise


@pytest.fixture
def desk(lab: Lab) -> Desk:
    """Build the desk."""
    with skipping():
        manager = NetworkManager(lab)
        manager.join("home")
        server = OpenVpn(lab, password="right")  # noqa: S106 - of this laboratory
        manager.add_vpn(SAVED, server, password="right")  # noqa: S106 - of this laboratory
        manager.add_vpn(ASKED, server, password=None)
    return Desk(lab, manager, server)


@asynccontextmanager
async def dialog(desk: Desk, *passwords: str, capabilities: int = VPN_HINTS) -> AsyncIterator[SecretAgent]:
    """Register a secret agent that enters these passwords, one after the other, and then cancels."""
    agent = await SecretAgent.on(desk.manager.bus_address, *passwords, capabilities=capabilities)
    try:
        yield agent
    finally:
        agent.leave()


def test_the_networks_name_is_reported(lab: Lab) -> None:
    """At home and, after a switch, in the café, the connection's name and interface are reported."""
    with skipping():
        manager = NetworkManager(lab)
    manager.join("home")

    async def body(watched: Watched) -> None:
        home = NetworkName("home network", None, "wlan0")
        await until(lambda: watched.facts.network == home, "home's name")
        await asyncio.to_thread(manager.join, "cafe")
        await until(lambda: str(watched.facts.network) == "cafe network", "the café's name")

    watch(manager, body)


def test_a_captive_portal_is_reported(lab: Lab) -> None:
    """If the check gets another page, NetworkManager reports a captive portal; without an answer, no internet."""
    page = lab.echo(8000, SERVER)
    with skipping():
        manager = NetworkManager(lab, portal_url=f"http://{SERVER}:8000/")
    manager.join("home")

    async def body(watched: Watched) -> None:
        await until(lambda: watched.facts.connectivity == "portal", "the portal")
        page.end()
        await asyncio.to_thread(manager.check, "networking", "connectivity", "check")
        await until(lambda: watched.facts.connectivity == "limited", "no internet")

    watch(manager, body)


def test_a_good_password_brings_the_vpn_up(desk: Desk) -> None:
    """The VPN is connecting, then up with its interface; a host behind it answers, and the user ends it."""

    async def body(watched: Watched) -> None:
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)
        await until(lambda: watched.vpn(SAVED).interface == "tun0", "its interface is reported")
        assert await asyncio.to_thread(desk.lab.laptop.ping, INTERNAL) != [None]
        await asyncio.to_thread(desk.manager.down, SAVED)
        down = await watched.until_vpn("down", SAVED)
        assert down.by_user
        assert watched.states(SAVED) == ["connecting", "up", "down"]

    desk.run(body)


def test_a_saved_password_that_is_refused_needs_sign_in(desk: Desk) -> None:
    """Without a secret agent, a refused saved password gives reason 9. A new password brings the VPN up."""

    async def body(watched: Watched) -> None:
        desk.server.set_password("new")
        await watched.source.activate(SAVED)
        assert (await watched.until_vpn("needs-sign-in", SAVED)).reason == 9
        desk.server.set_password("right")
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)

    desk.run(body)


def test_a_password_without_a_dialog_needs_sign_in(desk: Desk) -> None:
    """Without a saved password and without a secret agent, the reason is 9, and the server gets no login."""

    async def body(watched: Watched) -> None:
        await watched.source.activate(ASKED)
        assert (await watched.until_vpn("needs-sign-in", ASKED)).reason == 9
        assert "peer info" not in desk.server.log()

    desk.run(body)


def test_a_wrong_password_from_a_dialog_needs_sign_in(desk: Desk) -> None:
    """With a secret agent without hints, the reason is 0. The plug-in's message shows that the login was refused.

    On a busy machine the plug-in may end before its message is on the bus (reason 4). Then the test tries again.
    """

    async def body(watched: Watched) -> None:
        async with dialog(desk, *["wrong"] * TRIES, capabilities=0) as agent:
            for number in range(1, TRIES + 1):
                await watched.source.activate(ASKED)
                await watched.until_vpn("connecting", ASKED)
                await until(lambda: watched.vpn(ASKED).state != "connecting", "the attempt ends")
                ended = watched.vpn(ASKED)
                assert agent.asked == [ASKED] * number
                if ended.reason != PLUGIN_STOPPED:
                    break
                assert ended.state == "failed"
            assert (ended.state, ended.reason) == ("needs-sign-in", 0)

    desk.run(body)


def test_a_dialog_that_is_asked_again_and_cancelled_needs_sign_in(desk: Desk) -> None:
    """NetworkManager asks a secret agent with hints again after a refusal. After a cancel, the reason is 9."""

    async def body(watched: Watched) -> None:
        async with dialog(desk, "wrong") as agent:
            await watched.source.activate(ASKED)
            assert (await watched.until_vpn("needs-sign-in", ASKED)).reason == 9
            assert agent.asked == [ASKED, ASKED]

    desk.run(body)


def test_signing_in_again_brings_it_up(desk: Desk) -> None:
    """After a refusal, another activation opens the dialog again.

    The user needs to enter the right password only once.
    """

    async def body(watched: Watched) -> None:
        await watched.source.activate(ASKED)
        await watched.until_vpn("needs-sign-in", ASKED)
        async with dialog(desk, "wrong", "right") as agent:
            await watched.source.activate(ASKED)
            await watched.until_vpn("up", ASKED)
            assert len(agent.asked) == 2
        with pytest.raises(TrayagentError) as caught:
            await watched.source.activate(ASKED)
        assert caught.value.code == "vpn-active"

    desk.run(body)


def test_a_dead_session_is_signed_in_to_again(desk: Desk) -> None:
    """A dead VPN stays up in NetworkManager, which refuses to activate it again.

    After taking it down, activation works.
    """

    async def body(watched: Watched) -> None:
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)
        desk.server.kill()
        desk.server.start()
        assert await asyncio.to_thread(desk.lab.laptop.ping, INTERNAL) == [None]
        await watched.source.activate(SAVED, restart=True)
        await until(lambda: watched.vpn(SAVED).interface, "it is up, and everything is reported")
        assert await asyncio.to_thread(desk.lab.laptop.ping, INTERNAL) != [None]
        assert watched.states(SAVED) == ["connecting", "up", "down", "connecting", "up"]

    desk.run(body)


def test_an_unanswered_dialog_is_reported_and_opened_again(desk: Desk) -> None:
    """While the dialog is open, the VPN is connecting and asks for a password.

    Another activation opens the dialog again.
    """

    async def body(watched: Watched) -> None:
        async with dialog(desk, "right") as agent:
            agent.unseen = True
            await watched.source.activate(ASKED)
            await until(lambda: agent.asked and watched.vpn(ASKED).needs_secret, "it asks")
            assert watched.vpn(ASKED).state == "connecting"
            agent.unseen = False
            await watched.source.activate(ASKED, restart=True)
            await watched.until_vpn("up", ASKED)
            assert not watched.vpn(ASKED).needs_secret

    desk.run(body)


def test_a_killed_server_is_not_reported(desk: Desk) -> None:
    """After the server was killed, NetworkManager still reports the VPN as up.

    Only a probe behind the VPN detects it.
    """

    async def body(watched: Watched) -> None:
        await watched.source.activate(SAVED)
        await until(lambda: watched.vpn(SAVED).interface, "it is up, and everything is reported")
        assert await asyncio.to_thread(desk.lab.laptop.ping, INTERNAL) != [None]
        told = len(watched.told)
        desk.server.kill()
        assert await asyncio.to_thread(lambda: desk.lab.laptop.ping(INTERNAL, count=3)) == [None] * 3
        assert watched.told[told:] == []

    desk.run(body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restarted_networkmanager_is_read_again(desk: Desk, number: signal.Signals) -> None:
    """After a stop or a kill there are no facts. After a restart the network's name is known, and there is no VPN."""

    async def body(watched: Watched) -> None:
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)
        await asyncio.to_thread(desk.manager.stop, number)
        await until(lambda: watched.facts == ManagerFacts(running=False), "it is gone")
        await asyncio.to_thread(desk.manager.start)
        await until(lambda: watched.facts.running, "it is back")
        assert watched.facts.vpn(SAVED) is None
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)

    desk.run(body)


def test_nothing_is_left(desk: Desk) -> None:
    """If the laboratory is closed while the VPN is up, no process and no folder is left over."""

    async def body(watched: Watched) -> None:
        await watched.source.activate(SAVED)
        await watched.until_vpn("up", SAVED)

    desk.run(body)
    networks, folder = set(desk.lab.networks), desk.lab.files.root
    desk.lab.close()
    assert holder.processes_in(networks) == []
    assert not folder.exists()
