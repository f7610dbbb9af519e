"""A master is observed once until the agent's knowledge of it changes, however often decisions request that."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import cast

from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.agent.masters.keep_sentinels import SentinelKeeper
from trayagent.agent.masters.probe import MasterProber
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import Observed
from trayagent.core.facts.hosts import Doubt, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State

MASTER = Master(os.getpid(), 1, "/run/cm", started_by_agent=True)


class Posts(Shell):
    """A fake shell that only collects reports."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(hosts={"web": Host("web", master=MASTER)})
        self.reports: list[Observed] = []

    def post(self, event: object) -> None:
        """Collect the report."""
        assert isinstance(event, Observed)
        self.reports.append(event)

    def doubted(self, at: float) -> None:
        """Change the agent's knowledge of the master, as a decision does."""
        host = replace(self.state.hosts["web"], doubt=Doubt(changed_at=at))
        self.state = State(hosts={"web": host})


def test_a_master_is_observed_again_only_when_something_changed() -> None:
    """Repeated requests give one report. A new suspicion, another probe and another master each give a new report."""
    shell = Posts()
    parts = SimpleNamespace(shell=shell, configuration=None, tasks=None, records=None)
    prober = MasterProber(cast("Parts", parts), cast("SentinelKeeper", None))
    for _ in range(5):
        prober.observe("web", MASTER, None)
    assert len(shell.reports) == 1
    shell.doubted(1.0)
    for _ in range(5):
        prober.observe("web", MASTER, None)
    assert len(shell.reports) == 2
    for _ in range(5):
        prober.observe("web", MASTER, 3.0)
    assert len(shell.reports) == 3
    prober.observe("web", replace(MASTER, pid=os.getppid()), 3.0)
    assert len(shell.reports) == 4
    shell.doubted(1.0)  # equal, but a new object: a decision has used the earlier report
    prober.observe("web", replace(MASTER, pid=os.getppid()), 3.0)
    assert len(shell.reports) == 5
