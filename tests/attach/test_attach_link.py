"""The link to the agent: it follows the view, and retries at growing intervals while no agent runs."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trayagent.attach.agent_link import Link
from trayagent.ipc.errors import BadRequest, Refused
from trayagent.ipc.server import Server

WITHIN_S = 10.0


def view(state: str) -> dict[str, Any]:
    """Return as much of a view as these tests need."""
    wlan = {"name": "wlan0", "up": True, "kind": "physical", "addresses": []}
    docker = {"name": "docker0", "up": True, "kind": "virtual", "addresses": []}
    host = {"name": "web01", "state": state, "interface": None, "problem": None}
    return {"network": {"default": None, "interfaces": [docker, wlan]}, "hosts": [host]}


class Agent:
    """A fake agent: a real server with a view that the test changes. It knows only web01."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pushes: list[Callable[[dict[str, Any]], None]] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._server = Server(path, self)
        self._run(self._server.start())

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002  # the Protocol's
        """Record the request, and fail as an agent may."""
        self.asked.append((op, args))
        raise BadRequest("No.", code="no")

    async def subscribe(
        self, op: str, args: dict[str, Any], push: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Push a first view."""
        self.asked.append((op, args))
        if args["hosts"] != ["web01"]:
            raise BadRequest("There is no such host.", code="unknown-host")
        self.pushes.append(push)
        push(view("connected"))
        return lambda: self.pushes.remove(push)

    def push(self, item: dict[str, Any]) -> None:
        """Push a view."""
        self.loop.call_soon_threadsafe(lambda: [each(item) for each in self.pushes])

    def close(self) -> None:
        """End the server, once."""
        if self._thread.is_alive():
            self._run(self._server.close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(WITHIN_S)
            self.loop.close()

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WITHIN_S)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """Run an agent at the path that the clients use."""
    monkeypatch.setenv("TRAYAGENT_RUNTIME_DIR", str(tmp_path))
    made = Agent(tmp_path / "agent.sock")
    try:
        yield made
    finally:
        made.close()


def followed(link: Link, until: Callable[[], object]) -> None:
    """Follow the view until the condition is true."""
    while not until():
        link.follow()
        sources = link.sources
        if sources and not until():
            assert select.select(sources, [], [], WITHIN_S)[0], "nothing came"


def test_the_link_has_the_newest_view_and_survives_a_refused_request(agent: Agent) -> None:
    """A refused request does not end the link. The interface to wait for is the only physical one."""
    link = Link("web01")
    followed(link, lambda: link.host is not None)
    assert link.again_in_s is None
    assert link.interface == "wlan0"
    link.request("reconnect", {"hosts": ["web01"]})
    link.request("reconnect", {"hosts": ["web01"]})
    followed(link, lambda: len(link.sources) == 1)
    agent.push(view("offline"))
    followed(link, lambda: (link.host or {})["state"] == "offline")
    assert [op for op, _ in agent.asked] == ["watch", "reconnect"]
    link.close()


def test_a_missing_agent_is_retried_at_growing_intervals_unless_a_user_waits(agent: Agent) -> None:
    """The pauses start above zero and grow up to one minute. While a user waits, they are shorter."""
    link = Link("web01")
    followed(link, lambda: link.host is not None)
    agent.close()
    followed(link, lambda: link.view is None)
    pauses = []
    for _ in range(10):
        pauses.append(round(link.again_in_s or 0.0, 2))  # counted down from now, so less by some microseconds
        link._again_at = 0.0
        link.follow()
    assert 0.3 < pauses[0] <= 0.5
    assert pauses == sorted(pauses)
    assert 59 < pauses[-1] <= 60
    link.reconnect_often(True)
    assert (link.again_in_s or 99) <= 1.0
    link._again_at = 0.0
    link.follow()
    link.follow()
    assert (link.again_in_s or 99) <= 60


def test_an_unknown_host_is_reported_once_and_not_requested_in_a_loop(agent: Agent) -> None:
    """An unknown host is reported once, and the next request comes later, because the host may be added."""
    link = Link("nobody")
    with pytest.raises(Refused) as refused:
        followed(link, lambda: False)
    assert refused.value.code == "unknown-host"
    assert (link.again_in_s or 0) > 0.3
    link.follow()
    assert len(agent.asked) == 1
