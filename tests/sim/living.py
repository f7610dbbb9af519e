"""The ssh masters of the simulation, and how its transcript is written."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.tcp import Connection, Mark
from trayagent.core.decision_context import Why
from trayagent.core.facts import events as e
from trayagent.core.facts.masters import Master


@dataclass
class Living:
    """One ssh master process.

    `key`: the host key that the agent saw when it made this one. `mark`: where its connection was when
    the agent last asked it something, `asked`: that was not answered yet. `proven_over` and `asked_over`: the
    true path when it was last known to live, and when the agent last asked it. `suspended`: the process does
    not run, so what it is to send (`unsent`) and what came for it (`unread`) waits. `deaf`: the sentinel hangs.
    `sessions` go through it. `draining`: a new master has its path, and it ends with its last session.
    """

    master: Master
    host: str
    connection: Connection
    carrier: Living | None = None
    key: str = ""
    unanswered: int = 0
    mark: Mark | None = None
    asked: bool = False
    proven_over: object = None
    asked_over: object = None
    suspended: bool = False
    unsent: bool = False
    unread: bool = False
    deaf: bool = False
    sessions: int = 0
    draining: bool = False

    def returned(self, now_over: object) -> bool:
        """Report whether its path is again the one on which it lived, and it was asked on another one."""
        return now_over == self.proven_over and self.asked and self.asked_over not in {None, now_over}

    @property
    def stopped(self) -> bool:
        """Whether it, or a master that carries it, is suspended."""
        return self.suspended or (self.carrier is not None and self.carrier.stopped)


def in_words(what: object) -> str:
    """Return one line of the transcript."""
    match what:
        case str():
            return f"* {what}"
        case Why(name, row, verdict, evidence):
            return f"    {name}: row {row} {verdict}: {evidence}"
        case e.NetworkRead(_, snapshot, touched):
            return f"NetworkRead {[i.name for i in snapshot.interfaces]} {touched}"
        case e.Event():
            return f"{what}"[:160]
        case _:
            return f"    -> {what}"[:160]
