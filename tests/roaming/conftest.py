"""Fixtures for the relays: a laboratory with a server, and both relays on this machine without ssh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory
from tests.roaming.local import Local
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.roaming_relays import NearRelay, RoamingHost

HOST = "web01"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder that builds a laboratory."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker("lab")
        if item.get_closest_marker("root") and os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Build a laboratory whose laptop is at home, with a server and its alias."""
    with laboratory() as made:
        made.join("home")
        made.sshd()
        made.ssh_config({HOST: {"HostName": SERVER}})
        yield made


@pytest.fixture
def near(lab: Lab) -> Iterator[NearRelay]:
    """Start a near relay in the laptop."""
    relay = NearRelay(lab)
    yield relay
    relay.close()


@pytest.fixture
def host(lab: Lab, near: NearRelay) -> Iterator[RoamingHost]:
    """Connect a host through both relays."""
    with RoamingHost(lab, near, HOST) as made:
        made.connect()
        yield made


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """Start a near relay and a service instead of sshd, without ssh between the relays."""
    with Local(tmp_path) as made:
        yield made
