"""No wait without a shown reason: what status shows of a host is looked at every few seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.handshake import DEADLINE_S
from trayagent.core.display_state import delay, display_problem
from trayagent.core.facts import events as e
from trayagent.core.policy.admission import admission

if TYPE_CHECKING:
    from tests.sim.world import World
    from trayagent.core.facts.hosts import Host

ALONE_S = 35.0  # half a minute after a wake for masters that no control can tell of, and silence before that
ACKED_S = 90.0  # a minute in which only an answer is missed, once what was queued before is through
AT_ONCE = 2000
BESIDE_S = 10.0  # what is judged before and after an attempt


@dataclass
class Waits:
    """Raises AssertionError where a host is busy for longer than anything may last, or waits for nothing."""

    world: World
    guards: set[str] = field(default_factory=set)  # what held logins back so far
    _last: float = -1.0
    _at_once: int = 0
    _since: dict[str, tuple[object, float]] = field(default_factory=dict)
    _seen: object = None
    _quiet: set[str] = field(default_factory=set)  # hosts that were not busy when this state was seen

    def turns(self, event: e.Event) -> None:
        """Check that an event is not answered by itself for ever, without any time passing."""
        self._at_once = self._at_once + 1 if event.at == self._last else 0
        self._last = event.at
        assert self._at_once < AT_ONCE, self.world.rules.says("", "a loop in which no time passes")

    def restarted(self) -> None:
        """Start over: another agent asks and waits for itself."""
        self._since.clear()

    def look(self) -> None:
        """Check every host. One that was not busy is not busy either while the agent's state stays the same."""
        if self.world.state is not self._seen:
            self._seen = self.world.state
            self._quiet.clear()
        for name in self.world.roles:
            if name in self._quiet:
                continue
            host = self.world.state.hosts.get(name)
            if host is None or (host.master is not None and not host.suspect):
                self._since.pop(name, None)
                self._quiet.add(name)
            else:
                self._host(name, host)

    def _host(self, name: str, host: Host) -> None:
        world, now, shown = self.world, self.world.clock.now, self.world.shown(name)
        number = host.attempt.id if host.attempt is not None else None
        seen, since = self._since.get(name, (None, now))
        if seen != (shown, number):
            self._since[name] = ((shown, number), now)
            since = now
        if shown not in {"checking", "connecting", "waiting"}:
            self._quiet.add(name)
        if shown in {"checking", "connecting"}:
            legs = len(world.way_of(world.role_of(name))[1])
            under_way = host.attempt is not None and host.attempt.positive_at is None
            longest = DEADLINE_S * legs + BESIDE_S if under_way else self._alone_s(name)
            if not under_way and (living := world.listening(name)) is not None:
                since = max(since, living.connection.changed_at)  # each change is judged by itself
            assert now - since <= longest, world.rules.says(name, f"{shown} for {now - since:.0f} s")
        if shown in {"offline", "needs-vpn"}:
            self.guards.add(admission(host, world.state, by_user=host.by_user).code or shown)
        if shown == "waiting":
            late = delay(host, world.state, now)
            self.guards.add(late.wait.why if late is not None and late.wait is not None else "back-off")
            told = display_problem(host, world.state, now) is not None or (
                late is not None and late.at is not None
            )
            assert told, world.rules.says(name, "waits, and nothing says for what")

    def _alone_s(self, name: str) -> float:
        """Return how long a host may be busy without an attempt: longer where the next hop acknowledges.

        A master waits for the verdict on the one that carries it, and so for as long as that one.
        """
        living = self.world.listening(name)
        probe = self.world.state.hosts[name].doubt.probe
        if probe is not None and probe.acked > 0:
            return ACKED_S
        if living is None:
            return ALONE_S
        if living.connection.acknowledges:
            return ACKED_S
        carrier = living.carrier
        judged = carrier is not None and carrier.host in self.world.state.hosts
        return self._alone_s(carrier.host) if carrier is not None and judged else ALONE_S
