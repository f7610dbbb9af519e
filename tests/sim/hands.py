"""What the agent of the simulation does with its hands: each action, carried out in the virtual world."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from tests.sim.handshake import Handshake
from tests.sim.tcp import Connection
from trayagent.agent.refusals import STOPS
from trayagent.core import actions as a
from trayagent.core import events as e
from trayagent.core.failure import Failure, FailureKind
from trayagent.core.hosts import Master
from trayagent.core.problems import Code, Problem

if TYPE_CHECKING:
    from tests.sim.world import World

_CODES: dict[FailureKind, Code] = {
    "auth": "auth-denied",
    "timed-out": "timed-out",
    "unreachable": "unreachable",
    "host-key-changed": "host-key-changed",
    "died": "unknown",
}


class Hands:
    """Carries actions out; what came of it is an event. One agent has one, and the next agent hears nothing of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._attempts: dict[int, Handshake] = {}
        self._timers: dict[str, int] = {}

    def cut(self) -> None:
        """The agent ends: so do the children that are not through."""
        for handshake in self._attempts.values():
            handshake.cut = True

    def carry_out(self, action: a.Action) -> None:
        """Do it, or begin to."""
        match action:
            case a.LookAt():
                self._look_at(action)
            case a.SendProbe():
                self._probe(action.master)
            case a.Observe():
                self._observe(action)
            case a.Dial() | a.DialBare():
                self._dial(action)
            case a.TryKeys():
                self._try_keys(action)
            case a.Abort() | a.Redial():
                self._change(action)
            case a.TakeOver():
                agent = self._world.agent
                self._world.clock.after(
                    0.002, lambda: self._take_over(action) if agent == self._world.agent else None
                )
            case a.Kill() | a.Discard():
                self._world.clock.after(
                    0.005, lambda: self._world.die(self._world.living.get(action.master.pid))
                )
            case a.Remember():
                self._remember(action.name)

    def _change(self, action: a.Abort | a.Redial) -> None:
        if isinstance(action, a.Redial):
            self._attempts[action.attempt].redial()
        else:
            self._attempts.pop(action.attempt).cut = True

    def _look_at(self, action: a.LookAt) -> None:
        number = self._timers.get(action.name, 0) + 1
        self._timers[action.name] = number
        agent = self._world.agent
        if action.at is not None and action.at != inf:
            self._world.clock.at(action.at, lambda: self._time_came(action.name, number, agent))

    def _time_came(self, name: str, number: int, agent: int) -> None:
        if agent == self._world.agent and self._timers.get(name) == number:
            self._world.post(e.TimeCame(self._world.clock.now, name))

    def _probe(self, master: Master) -> None:
        living = self._world.living.get(master.pid)
        if living is not None:
            living.connection.acked_at = -1.0
            living.connection.send()

    def _observe(self, action: a.Observe) -> None:
        living = self._world.living.get(action.master.pid)
        if living is None:
            return
        connection = living.connection
        due = None if connection.due is None else max(connection.due - self._world.clock.now, 0.0)
        acked = int(connection.acked_at >= 0)
        self._world.post(e.Observed(0, action.name, action.master.pid, acked, due))

    def _dial(self, action: a.Dial | a.DialBare) -> None:
        role, agent = self._world.roles[action.name], self._world.agent
        bare = isinstance(action, a.DialBare)
        through = None if bare else self._world.jump(role)
        number = action.attempt
        expects = getattr(self._world.machines, role.machine)

        def mine(event: e.Event) -> None:
            if agent == self._world.agent:
                self._world.post(event)

        def established(local: str) -> None:
            self._world.rules.established(number)
            mine(e.AttemptEstablished(0, action.name, number, local))

        def ready(connection: Connection) -> None:
            self._attempts.pop(number, None)
            if agent != self._world.agent:
                return
            self._world.rules.positive(action.name, number)
            born = (
                None
                if bare
                else self._world.born(role, connection, ours=True, path=f"/cm/{role.name}.{number}.new")
            )
            master = born.master if born is not None else None
            own = connection.machine is expects
            mine(
                e.AttemptReady(0, action.name, number, master, host_key=connection.machine.name, trusted=own)
            )

        def failed(kind: FailureKind, positive: bool) -> None:
            self._attempts.pop(number, None)
            if positive:
                self._world.rules.positive(action.name, number)
            self._world.rules.failed(action.name, number, kind)
            failure = Failure(Problem(_CODES.get(kind, "unknown"), kind), kind, positive)
            key = expects.name if positive else None
            mine(e.AttemptFailed(0, action.name, number, failure, 1.1, key))

        named = isinstance(action, a.DialBare) and action.peer != role.hostname
        peer = action.peer if isinstance(action, a.DialBare) and named else role.peer
        self._attempts[number] = Handshake(
            self._world.clock, self._world.net, self._world.machines, peer,
            bare=bare, through=through,
            established=established,
            ready=ready, failed=failed, expects=expects,
        )  # fmt: skip

    def _try_keys(self, action: a.TryKeys) -> None:
        world, role = self._world, self._world.roles[action.name]

        def ends(verdict: e.TrialVerdict, failure: Failure | None = None) -> None:
            self._attempts.pop(action.attempt)
            world.post(
                e.TrialEnded(0, action.name, action.attempt, verdict, "told", failure, 1.1, role.machine)
            )

        def failed(kind: FailureKind, positive: bool) -> None:
            world.rules.failed(action.name, action.attempt, kind)
            failure = Failure(Problem(_CODES.get(kind, "unknown"), kind), kind, positive)
            ends("refused" if kind == "auth" and positive else "unknown", failure)

        def ready(connection: Connection) -> None:
            connection.closed = True
            world.rules.over(action.attempt)
            ends("passed")

        self._attempts[action.attempt] = Handshake(
            world.clock, world.net, world.machines, role.peer,
            bare=False, through=world.jump(role), established=lambda _local: None,
            ready=ready, failed=failed, expects=getattr(world.machines, role.machine),
        )  # fmt: skip

    def _take_over(self, action: a.TakeOver) -> None:
        new = self._world.living.get(action.master.pid)
        holder = self._world.listening(action.name)
        if new is None:
            failure = Failure(Problem("control-path-taken", "gone"), "unknown")
            self._world.post(e.TakeOverFailed(0, action.name, action.attempt, failure))
            return
        if holder is not None and (action.old is None or holder.master.pid != action.old.pid):
            self._world.die(new)
            self._world.post(e.TookOver(0, action.name, action.attempt, holder.master, adopted=True))
            return
        if action.old is not None:
            self._world.die(self._world.living.get(action.old.pid))
        new.master = replace(new.master, control_path=f"/cm/{action.name}")
        self._world.post(e.TookOver(0, action.name, action.attempt, new.master))

    def _remember(self, name: str) -> None:
        host = self._world.state.hosts.get(name)
        if host is None:
            return
        paused = None if host.paused_until is None else host.paused_until - self._world.clock.now
        worked = self._world.clock.now - host.worked_at if host.worked_at > 0 else None
        now, retry = self._world.clock.now, host.retry
        stop = None
        if retry.kind is not None and retry.kind in STOPS and host.problem is not None:
            stop = e.Refusal(retry.kind, host.problem, None if retry.at is None else retry.at - now)
        self._world.kept[name] = e.Remembered(
            now, name, host.held, paused, host.reached, host.learned_vpn, host.addresses, worked,
            refused_ago_s=tuple(now - at for at in host.refused), refusal=stop, killing=host.killing,
            vpn=host.wish.vpn, networks=host.wish.networks,
        )  # fmt: skip
