"""Many sentinels that are due at the same time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from trayagent.agent.forwards.remote_cleanup import RemoteCleanup
from trayagent.agent.masters.keep_sentinels import SentinelKeeper
from trayagent.agent.parts import Parts
from trayagent.agent.tasks import Tasks
from trayagent.core.facts.hosts import Doubt, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State

MANY = 20
ALIVE = Doubt(proof_at=1.0)


class Named(Tasks):
    """Tasks that remember their names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def start(self, name, work):  # type: ignore[no-untyped-def]
        """Remember the name."""
        self.names.append(name)
        return super().start(name, work)


def test_many_sentinels_start_a_few_at_a_time_and_none_is_left_out(tmp_path: Path) -> None:
    """When 20 sentinels are due, at most 8 start at a time. The others follow without another event."""
    masters = [Master(os.getpid() + n, 1, str(tmp_path / f"{n}"), started_by_agent=True) for n in range(MANY)]
    state = State(hosts={f"web{m.pid}": Host(f"web{m.pid}", master=m, doubt=ALIVE) for m in masters})
    tasks = Named()
    configuration = SimpleNamespace(wants_sentinel=lambda _: True)
    records = SimpleNamespace(has_sentinel=lambda _: True, few_sessions=lambda _: False)
    parts = SimpleNamespace(
        shell=SimpleNamespace(state=state), tasks=tasks, configuration=configuration, records=records
    )
    keeper = SentinelKeeper(cast("Parts", parts), cast("RemoteCleanup", None))

    async def started() -> None:
        keeper.follow(state)
        assert len(tasks.names) == 8
        async with asyncio.timeout(10):
            while len(tasks.names) < MANY:  # noqa: ASYNC110  # no event reports the start of a task
                await asyncio.sleep(0.01)
        keeper.close()

    asyncio.run(started())
    assert sorted(tasks.names) == sorted(f"sentinel {m.pid}" for m in masters)
