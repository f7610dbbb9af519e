"""Fixtures: a private bus instead of the system bus, and a watcher of the NetworkManager on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.net.conftest import need
from tests.net.test_linux_logind import Bus, until
from tests.net.vpn.fake_networkmanager import FakeNetworkManager
from trayagent.core.facts.network_manager import ManagerFacts, VpnConnection
from trayagent.net.hints import Hint, NetworkManagerChanged
from trayagent.net.vpn.networkmanager import NetworkManager

SOON_S = 0.01


@pytest.fixture
def bus() -> Iterator[Bus]:
    """Start a private bus."""
    need(shutil.which("dbus-daemon"), "dbus-daemon")
    folder = Path(tempfile.mkdtemp(prefix="ta-bus-"))
    made = Bus(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder)


class Watched:
    """A watcher, and all facts that it reported."""

    def __init__(self, address: str) -> None:
        self.source = NetworkManager(address, first_retry_s=SOON_S)
        self.told: list[ManagerFacts] = []

    def hear(self, hint: Hint) -> None:
        """Store a hint."""
        assert isinstance(hint, NetworkManagerChanged)
        self.told.append(hint.facts)

    @property
    def facts(self) -> ManagerFacts:
        """The last reported facts."""
        return self.told[-1] if self.told else ManagerFacts()

    def vpn(self, name: str = "Corp VPN") -> VpnConnection:
        """Return a VPN's facts. It is down if there is no report about it."""
        return self.facts.vpn(name) or VpnConnection(name, "", "down")

    async def until_vpn(self, state: str, name: str = "Corp VPN") -> VpnConnection:
        """Wait until a VPN has this state."""
        try:
            await until(lambda: self.vpn(name).state == state, f"{name} is {state}")
        except AssertionError as error:
            error.add_note(f"told: {self.told[-3:]}; bus: {self.source.problem}")
            raise
        return self.vpn(name)

    def states(self, name: str = "Corp VPN") -> list[str]:
        """Return the reported states of a VPN in order, without immediate repetitions."""
        found: list[str] = []
        for facts in self.told:
            vpn = facts.vpn(name)
            if vpn is not None and found[-1:] != [vpn.state]:
                found.append(vpn.state)
        return found


@asynccontextmanager
async def scene(bus: Bus) -> AsyncIterator[tuple[FakeNetworkManager, Watched]]:
    """Yield a NetworkManager with a Wi-Fi and without a VPN, and a watcher that has read it."""
    manager = await FakeNetworkManager.on(bus.address)
    try:
        async with watching(bus.address) as watched:
            await until(lambda: watched.facts.running, "it is read")
            yield manager, watched
    finally:
        manager.leave()


@asynccontextmanager
async def watching(address: str) -> AsyncIterator[Watched]:
    """Watch the NetworkManager of a bus. Afterwards close the watcher, and check that its tasks have ended."""
    watched = Watched(address)
    watched.source.start(watched.hear)
    task = watched.source._watching
    assert task is not None
    try:
        yield watched
    finally:
        watched.source.close()
        await until(task.done, "the watch ends")
