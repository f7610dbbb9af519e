"""The context of one call of `decide`: the working copy of the state, and the decisions so far.

A context lives for one call only, so that `decide` stays a function of its arguments.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.actions import Abort, Action, CountCarried, Discard, Observe, Publish, Resolve
from trayagent.core.facts.attempt import Trial
from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.host_table import HostTable
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import REFUSED_WINDOW_S


class Why(Struct, frozen=True):
    """One decision about a host: the row of docs/architecture.md's table (0: none), the verdict, and the evidence."""

    name: str
    row: int
    verdict: str
    evidence: Evidence


REQUESTS = (CountCarried, Observe, Resolve)
"""Actions that only request an answer, which comes as an event. No fact shows that they are in progress."""


_BESIDE_HOSTS = {"servers", "let_in", "forgotten"}
"""Facts of the state that belong to hosts, like those in the table of hosts."""


class Context:
    """Collects the new state, the actions and their reasons; `now` is the event's time."""

    def __init__(self, state: State, now: float) -> None:
        # Change one private copy in place. Otherwise each change would copy the facts of all hosts.
        self._hosts = HostTable(state.hosts)
        self.state = replace(state, hosts=self._hosts)
        self.now = now
        self.actions: list[Action] = []
        self.whys: list[Why] = []
        self.asked = False  # whether a request was made; the advancing of hosts resets it

    @property
    def hosts(self) -> HostTable:
        """The hosts at this moment."""
        return self._hosts

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the hosts at this moment."""
        return tuple(self._hosts)

    def decide_again(self, at: float) -> None:
        """Decide about the present host again at the first event from `at` on (monotonic), although nothing changed."""
        if self._hosts.reads is not None:
            self._hosts.reads.until = min(self._hosts.reads.until, at)

    def get(self, name: str) -> Host | None:
        """Return a host, or None."""
        found: Host | None = self._hosts.get(name)
        return found

    def with_master(self, name: str, pid: int) -> Host | None:
        """Return a host if the process `pid` is its master, or None."""
        host = self._hosts.get(name)
        return host if host is not None and host.master is not None and host.master.pid == pid else None

    def put(self, host: Host, **changes: Any) -> Host:
        """Store the host with these changes, and return it."""
        host = replace(host, **changes) if changes else host
        self._hosts[host.name] = host
        return host

    def forget(self, name: str) -> None:
        """Drop a host that is no longer needed. Keep it in `State.forgotten` while its refused logins count."""
        host, since = self._hosts.pop(name, None), self.now - REFUSED_WINDOW_S
        if host is not None and host.standby.master is not None:
            self.do(Discard(name, host.standby.master))
        if host is not None and host.standby.attempt is not None:
            self.do(Abort(name, host.standby.attempt))
        kept = {
            key: other for key, other in self.state.forgotten.items() if other.login.last_refused_at > since
        }
        if host is not None and host.login.last_refused_at > since:
            kept[name] = replace(host, attempt=None, trial=Trial())
        self.change(forgotten=kept)

    def _owner(self, name: str) -> str:
        """Return the name under which the user knows a host. For a draining master, that is its owner's name."""
        host = self._hosts.get(name)
        return host.draining.owner if host is not None and host.draining is not None else name

    def change(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)
        if not _BESIDE_HOSTS.isdisjoint(changes):
            self._hosts.note_change()

    def do(self, action: Action) -> None:
        """Add an action. Request the same answer only once."""
        if isinstance(action, REQUESTS):
            self.asked = True
            if action in self.actions:
                return
        self.actions.append(action)

    def publish(
        self,
        event: str,
        name: str = "",
        evidence: Evidence = NO_EVIDENCE,
        *,
        reason: str = "",
        **details: object,
    ) -> None:
        """Publish an event, which must be in config.model.EVENTS."""
        self.actions.append(Publish(self._owner(name), event, evidence, reason, details))

    def because(self, name: str, row: int, verdict: str, evidence: Evidence) -> None:
        """Record a decision about a host, with its evidence."""
        owner, host = self._owner(name), self._hosts.get(name)
        if owner != name and host is not None and host.master is not None:
            evidence = Evidence.of(draining=host.master.pid) + evidence
        self.whys.append(Why(owner, row, verdict, evidence))
