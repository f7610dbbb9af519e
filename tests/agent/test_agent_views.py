"""The delay before watchers get a change."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from trayagent.agent import view_updates
from trayagent.agent.event_loop import Shell
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.view_updates import PACE_S, Views
from trayagent.core.display_state import display_state
from trayagent.core.facts.host_table import HostTable
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.view import AgentFacts


class _Agent:
    def facts(self) -> AgentFacts:
        return AgentFacts("0", 1, "2026-01-01T08:00:00Z")


def test_the_first_change_is_pushed_immediately_and_a_burst_is_combined() -> None:
    """The first change is pushed immediately, so that a waiting terminal loses no time. A burst is combined."""
    pushes: list[Any] = []

    async def body() -> None:
        no_events: Any = None
        views = Views(Shell(), _Agent(), no_events)
        end = views.subscribe((), pushes.append)
        assert len(pushes) == 1
        views.note_change()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(pushes) == 2
        for _ in range(20):
            views.note_change()
            await asyncio.sleep(0)
        assert len(pushes) == 2
        async with asyncio.timeout(10):
            while len(pushes) < 3:  # noqa: ASYNC110  # the push is a call, not an event
                await asyncio.sleep(PACE_S / 10)
        await asyncio.sleep(PACE_S * 2)
        assert len(pushes) == 3, "nothing is pushed when nothing changes"
        end()

    asyncio.run(body())


def test_a_change_of_one_host_costs_nothing_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a host changes, the states of the others are recorded once a second, and at each view of them."""
    hosts = HostTable({name: Host(name) for name in ("web", "db", "mail")})
    computed: list[str] = []

    def counted(host: Host, state: State, now: float) -> str:
        computed.append(host.name)
        return display_state(host, state, now)

    monkeypatch.setattr(view_updates, "display_state", counted)

    async def body() -> None:
        shell = Shell()
        shell.state = State(hosts=hosts)
        views = Views(shell, _Agent(), cast("EventBus", None))
        views.note_change()
        assert sorted(computed) == ["db", "mail", "web"]
        for number in range(3):
            hosts["web"] = Host("web", checked_at=float(number))
            views.note_change()
            await asyncio.sleep(PACE_S * 1.5)
        assert set(computed[3:]) == {"web"}
        computed.clear()
        assert [host["name"] for host in views.current(["db"])["hosts"]] == ["db"]
        assert computed == ["db"]
        computed.clear()
        async with asyncio.timeout(10):
            while len(computed) < 3:  # noqa: ASYNC110  # the record is a call, not an event
                await asyncio.sleep(PACE_S / 10)
        assert sorted(computed) == ["db", "mail", "web"]

    asyncio.run(body())
