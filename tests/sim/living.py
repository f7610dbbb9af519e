"""The ssh masters of the simulation, and the lines of its transcript."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.tcp import Connection, Mark
from trayagent.core.decision_context import Why
from trayagent.core.facts import events as e
from trayagent.core.facts.masters import Master


@dataclass
class Living:
    """One ssh master process.

    `key`: the host key that the agent saw when it started this master. `mark`: the connection's counters at the last
    probe. `asked`: that probe, sent for the host `asked_by`, is not answered yet. `proven_over` and `asked_over`: the
    true path at the last proof of life (`proven_at`) and at the last probe (`asked_at`). `strayed`: the path was
    another one since that proof. `suspended`: the process does not run, so data to send (`unsent`) and received data
    (`unread`) wait. `deaf`: the sentinel hangs. `sessions`: the number of sessions. `draining`: a new master has the
    control path, and this master ends with its last session.
    `keeps_until`: until then ssh keeps a probe in its own buffer, because it hides the rhythm of keystrokes. `kept`: it
    keeps one now.
    """

    master: Master
    host: str
    connection: Connection
    carrier: Living | None = None
    key: str = ""
    unanswered: int = 0
    mark: Mark | None = None
    asked: bool = False
    asked_by: str = ""
    asked_at: float = 0.0
    proven_over: object = None
    proven_at: float = 0.0
    asked_over: object = None
    strayed: bool = False
    suspended: bool = False
    unsent: bool = False
    unread: bool = False
    deaf: bool = False
    sessions: int = 0
    draining: bool = False
    keeps_until: float = 0.0
    kept: bool = False

    def look(self, now_over: object) -> None:
        """Note whether the path is another one than at the last proof of life."""
        self.strayed = self.strayed or now_over != self.proven_over

    def proven(self, now_over: object, now: float) -> None:
        """Note a proof of life over this path."""
        self.proven_over, self.proven_at, self.strayed = now_over, now, False

    def returned(self, now_over: object) -> bool:
        """Report whether the path is again the one of the last proof of life, and was another one since."""
        return now_over == self.proven_over and self.asked and self.strayed

    def stayed(self, now_over: object) -> bool:
        """Report whether the path stayed the same since the last proof of life. Then silence comes from a hole."""
        return (
            now_over == self.proven_over == self.asked_over and self.connection.changed_at <= self.proven_at
        )

    def send(self, *, answered: bool = True) -> None:
        """Send a byte, and with it a probe that ssh kept."""
        self.connection.send(answered=answered or self.kept)
        self.kept = False

    @property
    def spare(self) -> bool:
        """Whether the master is a spare one, which has no control path of its host."""
        return self.connection.flow.bound is not None and self.master.control_path.endswith(".new")

    @property
    def stopped(self) -> bool:
        """Whether the master, or a master that carries it, is suspended."""
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
