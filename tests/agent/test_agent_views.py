"""The delay before watchers get a change."""

from __future__ import annotations

import asyncio
from typing import Any

from trayagent.agent.event_loop import Shell
from trayagent.agent.view_updates import PACE_S, Views
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
