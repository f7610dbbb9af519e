"""Checks every few seconds that `status` shows a reason for each wait, and that no wait is too long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.handshake import DEADLINE_S
from trayagent.core.display_state import delay, display_problem
from trayagent.core.facts import events as e
from trayagent.core.policy.admission import admission
from trayagent.core.policy.shared_connection import judging_owner

if TYPE_CHECKING:
    from tests.sim.world import World
    from trayagent.core.facts.hosts import Host

ALONE_S = 35.0  # after a wake, 30 s for masters without a possible control, and the silence before
ACKED_S = 90.0  # TCP acknowledges: one minute without an answer, after the queued data is through
BACKOFF_S = 250.0  # a session in a hole may miss two retransmissions, each after at most 120 s
AT_ONCE = 2000
BESIDE_S = 10.0  # time for the decisions before and after an attempt


@dataclass
class Waits:
    """The checks. They raise AssertionError if a host is busy for too long, or waits without a shown reason."""

    world: World
    guards: set[str] = field(default_factory=set)  # the reasons that delayed logins so far
    _last: float = -1.0
    _at_once: int = 0
    _since: dict[str, tuple[object, float]] = field(default_factory=dict)
    _seen: object = None
    _quiet: set[str] = field(default_factory=set)  # hosts that were not busy in the state `_seen`
    _until: dict[str, float] = field(default_factory=dict)  # when the waits in the state `_seen` are over

    def turns(self, event: e.Event) -> None:
        """Check that events do not cause each other forever while no time passes."""
        self._at_once = self._at_once + 1 if event.at == self._last else 0
        self._last = event.at
        assert self._at_once < AT_ONCE, self.world.rules.says("", "a loop in which no time passes")

    def restarted(self) -> None:
        """Start over, because another agent has its own waits."""
        self._since.clear()

    def look(self) -> None:
        """Check every host. Skip those that were not busy, as long as the agent's state stays the same."""
        if self.world.state is self._seen and len(self._quiet) == len(self.world.roles):
            return
        if self.world.state is not self._seen:
            self._seen = self.world.state
            self._quiet.clear()
            self._until.clear()
        for name in self.world.roles:
            if name in self._quiet or self.world.clock.now < self._until.get(name, 0.0):
                continue
            host = self.world.state.hosts.get(name)
            if host is None or (host.master is not None and not host.suspect):
                self._since.pop(name, None)
                self._quiet.add(name)
            else:
                self._host(name, host)

    def _host(self, name: str, host: Host) -> None:
        world, now, shown = self.world, self.world.clock.now, self.world.shown(name)
        owner = judging_owner(host, world.state, now)
        if owner is not None:
            name, host = owner.name, owner
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
                # the time starts again with each change of the path
                since = max(since, living.connection.changed_at)
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
            if late is not None and late.at is not None:
                self._until[name] = late.at

    def _alone_s(self, name: str) -> float:
        """Return how long a host may be busy without an attempt. If the next hop acknowledges, that is longer.

        A master waits for the verdict on its carrier, so it may wait as long as the carrier.
        """
        living = self.world.listening(name)
        probe = self.world.state.hosts[name].doubt.probe
        if probe is not None and probe.acked > 0:
            return ACKED_S
        if living is None:
            return ALONE_S
        if living.connection.acknowledges:
            return ACKED_S
        if living.sessions and living.stayed(self.world.net.signature(living.connection.flow)):
            return BACKOFF_S
        carrier = living.carrier
        judged = carrier is not None and carrier.host in self.world.state.hosts
        return self._alone_s(carrier.host) if carrier is not None and judged else ALONE_S
