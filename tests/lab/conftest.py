"""Fixtures for the lab: a laboratory, and the real agent inside its laptop."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and every other that has a laboratory as a fixture."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if Path(__file__).parent in item.path.parents or any(name.endswith("lab") for name in fixtures):
            item.add_marker("lab")
        if item.get_closest_marker("root") and os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@contextmanager
def _tunnels_or_skip() -> Iterator[None]:
    """Skip a test that needs the VPN if the user may not open /dev/net/tun. Root always may."""
    try:
        yield
    except TrayagentError as error:
        if error.code == "tun-missing" and os.getuid() != 0:
            pytest.skip(str(error))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Set up a test, and skip it if a fixture needs a VPN that is not allowed here."""
    del item
    with _tunnels_or_skip():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Run a test, and skip it if it needs a VPN that is not allowed here."""
    del item
    with _tunnels_or_skip():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the agent's log to a failure, because the laboratory and its files are gone afterwards."""
    report = yield
    agent = getattr(item, "funcargs", {}).get("agent")
    if report.failed and isinstance(agent, Agent):
        log = agent.state_dir / "agent.log"
        words = log.read_text() if log.exists() else agent.log.read_text() if agent.log.exists() else ""
        report.sections.append(("the agent's log", words[-20_000:]))
    return report


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Build a laboratory with a round trip of 50 ms. Options come from `parametrize(…, indirect=True)`."""
    with laboratory(**getattr(request, "param", {})) as made:
        yield made


@pytest.fixture
def agent(lab: Lab) -> Iterator[Agent]:
    """Prepare an agent for the laboratory's laptop without starting it; stop it afterwards."""
    with Agent(lab) as made:
        yield made
