"""Carries out the agent's actions in the virtual world."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tests.sim.cast import FORWARDS_AGENT, Role, first_hop
from tests.sim.handshake import DEADLINE_S, Handshake, Leg, Outcome, shown_key
from tests.sim.living import Living
from tests.sim.sshd import key_of
from tests.sim.tcp import Connection
from trayagent.agent.state.refusal_records import STOPS
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.problems import Code, Problem
from trayagent.core.policy.logins.when_to_retry import LOCAL_KINDS

if TYPE_CHECKING:
    from tests.sim.world import World

_CODES: dict[FailureKind, Code] = {
    "auth": "auth-denied",
    "too-many-keys": "too-many-auth-failures",
    "booting": "refused",
    "timed-out": "timed-out",
    "unreachable": "unreachable",
    "host-key-changed": "host-key-changed",
    "died": "unknown",
    "control-path": "control-path-taken",
    "unwritable": "disk-full",
    "ssh-missing": "ssh-missing",
}


class Hands:
    """Carries out one agent's actions, and posts the results as events. A later agent does not get these events."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._attempts: dict[int, Handshake] = {}
        self._timers: dict[str, tuple[float | None, int]] = {}  # when each is due, and how often it was set
        roaming = (a.BeginRoaming, a.AttachByPort, a.AttachRoaming, a.RestorePath, a.EndRoaming)
        self._do: dict[type[a.Action], Callable[[Any], None]] = {
            **dict.fromkeys(roaming, world.inners.carry_out),
            a.SetTimer: self._look_at,
            a.SendProbe: self._probe,
            a.Observe: self._observe,
            a.Dial: self._dial,
            a.DialBare: self._dial,
            a.TryKeys: self._try_keys,
            a.Abort: self._change,
            a.Redial: self._change,
            a.TakeOver: self._later(0.002, self._take_over),
            a.Kill: self._kill,
            a.Discard: self._kill,
            a.Mute: self._mute,
            a.CountCarried: self._count,
            a.Remember: self._remember,
            a.ReadNetwork: lambda _action: world.read(),
            a.Resolve: world.resolve,
            a.EnsureForwards: world.forwarding.ensure,
            a.Publish: lambda _action: None,
        }

    def cut(self) -> None:
        """End all unfinished attempts, because the agent ends."""
        for handshake in self._attempts.values():
            handshake.cut()

    def keep(self, number: int, handshake: Handshake) -> None:
        """Store the user's login at a terminal, which ends with the agent."""
        self._attempts[number] = handshake

    def forget(self, number: int, *, cut: bool = False) -> bool:
        """Remove an attempt, and end it if `cut`. Report whether it was still in progress."""
        handshake = self._attempts.pop(number, None)
        if handshake is not None and cut:
            handshake.cut()
        return handshake is not None

    def carry_out(self, action: a.Action) -> None:
        """Carry out an action, or start it."""
        self._do[type(action)](action)

    def _later(self, seconds: float, do: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a function that calls `do` after some time, if the agent still runs."""
        world, agent = self._world, self._world.agent
        return lambda action: world.clock.after(seconds, lambda: do(action) if agent == world.agent else None)

    def _kill(self, action: a.Kill | a.Discard) -> None:
        self._world.clock.after(0.005, lambda: self._world.die(self._world.living.get(action.master.pid)))

    def _mute(self, action: a.Mute) -> None:
        living = self._world.living.get(action.master.pid)
        if living is not None:
            living.connection.mute(muted=action.muted)

    def _change(self, action: a.Abort | a.Redial) -> None:
        if isinstance(action, a.Redial):
            handshake = self._attempts.get(action.attempt)  # an attempt with an obstacle makes no connection
            if handshake is not None and handshake.redial() and handshake.flow is not None:
                self._world.rules.redialled(action.attempt, handshake.flow)
            return
        handshake, agent = self._attempts.get(action.attempt), self._world.agent
        self.forget(action.attempt, cut=True)
        proven = handshake is not None and not handshake.bare and bool(handshake.outcome.key)
        failure = (
            Failure(Problem("timed-out", "no answer"), "timed-out", perhaps_refused=True) if proven else None
        )
        key = None
        if handshake is not None and action.name in self._world.roles:
            key = shown_key(handshake.outcome.key, self._world.roles[action.name].key_type)
        event = e.AttemptCut(0, action.name, action.attempt, failure, key)
        self._world.clock.after(
            0.005, lambda: self._world.post(event) if agent == self._world.agent else None
        )

    def _look_at(self, action: a.SetTimer) -> None:
        at, (due, number) = action.at, self._timers.get(action.name, (None, 0))
        if at == due:
            return
        number, agent = number + 1, self._world.agent
        self._timers[action.name] = (at, number)
        if at is not None and at != inf:
            self._world.clock.at(at, lambda: self._time_came(action.name, number, agent))

    def _time_came(self, name: str, number: int, agent: int) -> None:
        if agent == self._world.agent and self._timers[name][1] == number:
            self._timers[name] = (None, number)
            self._world.post(e.TimerExpired(self._world.clock.now, name))

    def _probe(self, action: a.SendProbe) -> None:
        living = self._world.living.get(action.master.pid)
        if living is None:
            return
        if not action.second:
            living.mark = living.connection.mark()
            living.asked_at = self._world.clock.now
            living.asked_over = self._world.net.signature(living.connection.flow)
        living.asked_by = action.name
        if living.stopped:
            living.asked = living.unsent = True
            return
        answers = action.second or not living.deaf
        living.asked = living.asked or answers
        clock = self._world.clock
        if clock.now < living.keeps_until and answers and living.connection.idle:
            living.kept = True
            clock.after(living.keeps_until - clock.now, lambda: self._send_kept(living))
            return
        living.send(answered=answers)

    def _send_kept(self, living: Living) -> None:
        if living.kept and living.stopped:
            living.kept, living.unsent = False, True
        elif living.kept and self._world.living.get(living.master.pid) is living:
            living.send()

    def _observe(self, action: a.Observe) -> None:
        living = self._world.living.get(action.master.pid)
        if living is None:
            return
        seen = living.connection.seen(living.mark)
        flow = living.connection.flow
        now = None
        if seen.known and flow.local != action.master.local:
            now = replace(action.master, local=flow.local, peer=flow.peer)
        self._world.post(
            e.Observed(
                0, action.name, action.master.pid, seen.acked, seen.due_in_s, seen.ahead, seen.rtt_s,
                now=now, adrift=not seen.known, stopped=living.stopped, probed_at=action.probed_at,
                unused=not self._world.sessions.of(living), unsent=living.kept,
            )
        )  # fmt: skip

    def _count(self, action: a.CountCarried) -> None:
        living = self._world.living.get(action.master.pid)
        inner = self._world.inners.living.get(action.name)
        if living is not None:
            count = self._world.sessions.of(living)
            self._world.post(e.Carried(0, action.name, action.master.pid, count, 0))
        elif inner is not None:
            self._world.post(e.Carried(0, action.name, action.master.pid, inner.sessions, 0))

    def _way(self, action: a.Dial | a.DialBare, role: Role) -> tuple[Connection | None, tuple[Leg, ...], str]:
        """Return how an attempt reaches its server, as `way_of` does."""
        through, legs, peer = self._world.way_of(role)
        if isinstance(action, a.DialBare):
            first = first_hop(role)
            return None, (first.leg(),), first.peer if action.peer == first.hostname else action.peer
        return through, legs, (action.address or self._world.answering(role)) if role.nodes else peer

    def _dial(self, action: a.Dial | a.DialBare) -> None:
        world, role, agent = self._world, self._world.role_of(action.name), self._world.agent
        bare = isinstance(action, a.DialBare)
        through, legs, peer = self._way(action, role)
        number = action.attempt
        mptcp = isinstance(action, a.Dial) and action.mptcp is not None
        if not mptcp:  # the agent's own connections move only if it made them by Multipath TCP
            legs = tuple(replace(leg, moves=False) for leg in legs)
        obstacle = world.obstacles.get(action.name) or world.obstacles.get("")
        if obstacle is not None and not bare:
            self._obstructed(action.name, number, obstacle)
            return

        def mine(event: e.Event) -> None:
            if agent == world.agent:
                world.post(event)

        def done(outcome: Outcome, connection: Connection | None) -> None:
            self._attempts.pop(number, None)
            if agent != world.agent:
                return
            world.rules.outcome(action.name, number, outcome)
            key = shown_key(outcome.key, role.key_type)
            if outcome.kind is not None:
                mine(e.AttemptFailed(0, action.name, number, failure_of(outcome), 1.1, key))
                return
            born = None
            if connection is not None:
                path = f"/cm/{role.name}.{number}.new"
                born = world.born(role, connection, started_by_agent=True, path=path, key=outcome.key).master
            trusted = key_of(outcome.key) == key_of(legs[-1].machine)
            mine(e.AttemptReady(0, action.name, number, born, host_key=key, trusted=trusted))
            host = world.state.hosts.get(action.name)
            if host is not None and key is not None and host.login.host_key == key:
                world.rules.logged_in.add(action.name)

        self._attempts[number] = Handshake(
            world.clock, world.net, world.machines, peer, legs,
            bare=bare, banner=isinstance(action, a.DialBare) and action.banner, through=through,
            established=lambda flow: mine(
                e.AttemptEstablished(
                    0, action.name, number, flow.local, flow.peer if role.nodes and not bare else None,
                    frozenset(role.nodes) if not bare else frozenset(),
                    ("answered" if role.moves else "fell-back") if mptcp else None,
                )
            ),
            done=done, unfinished=lambda leg: world.rules.unfinished(number, leg),
            bound=action.interface if isinstance(action, a.Dial) else None,
        )  # fmt: skip
        world.clock.after(DEADLINE_S * len(legs), self._attempts[number].expire)

    def _obstructed(self, name: str, number: int, kind: FailureKind) -> None:
        """Fail an attempt at an obstacle on this machine. No server sees it."""
        world, agent = self._world, self._world.agent
        world.rules.outcome(name, number, Outcome(kind))
        failure = Failure(Problem(_CODES[kind], kind), kind)
        event = e.AttemptFailed(0, name, number, failure)
        world.clock.after(0.005, lambda: world.post(event) if agent == world.agent else None)

    def clear(self, name: str) -> None:
        """Report that the obstacle on a host's control path is gone."""
        host = self._world.state.hosts.get(name)
        if host is not None and host.retry.kind in LOCAL_KINDS:
            self._world.post(e.ObstacleGone(0, name))

    def _try_keys(self, action: a.TryKeys) -> None:
        world, role = self._world, self._world.roles[action.name]

        def ends(verdict: e.TrialVerdict, outcome: Outcome, failure: Failure | None = None) -> None:
            key = shown_key(outcome.key, role.key_type)
            world.post(
                e.TrialEnded(
                    0, action.name, action.attempt, verdict, Evidence.of(outcome="unknown"), failure, 1.1, key
                )
            )

        def done(outcome: Outcome, connection: Connection | None) -> None:
            self._attempts.pop(action.attempt)
            world.rules.outcome(action.name, action.attempt, outcome)
            if connection is not None:
                connection.closed = True
                ends("passed", outcome)
                return
            failure = failure_of(outcome)
            refused = failure.kind == "auth" and failure.positive
            ends("refused" if refused else "unknown", outcome, failure)

        through, legs, peer = world.way_of(role)
        self._attempts[action.attempt] = Handshake(
            world.clock, world.net, world.machines, peer, legs, bare=False, through=through,
            established=lambda _flow: None, done=done,
            unfinished=lambda leg: world.rules.unfinished(action.attempt, leg),
        )  # fmt: skip
        world.clock.after(DEADLINE_S * len(legs), self._attempts[action.attempt].expire)

    def _take_over(self, action: a.TakeOver) -> None:
        new = self._world.living.get(action.master.pid)
        holder = self._world.listening(action.name)
        inner = self._world.inners.of_another(action.name)
        if new is None:
            failure = Failure(Problem("control-path-taken", "gone"), "unknown")
            self._world.post(e.TakeOverFailed(0, action.name, action.attempt, failure))
            return
        if inner is not None:
            self._world.die(new)
            self._world.post(e.TookOver(0, action.name, action.attempt, inner.master, adopted=True))
            return
        if holder is not None and (action.old is None or holder.master.pid != action.old.pid):
            self._world.die(new)
            self._world.post(e.TookOver(0, action.name, action.attempt, holder.master, adopted=True))
            return
        old = self._world.living.get(action.old.pid) if action.old is not None else None
        new.master = replace(new.master, control_path=self._world.inners.outer_path(action.name))
        took = e.TookOver(0, action.name, action.attempt, new.master)
        if old is not None and action.drain and self._world.sessions.of(old) and not old.stopped:
            old.draining, old.master = True, replace(old.master, control_path="")
            self._world.forwarding.close(old.master.pid, old.connection)
            draining = Draining(action.name, self._world.clock.now, self._world.sessions.of(old))
            self._world.post(replace(took, drained=old.master, draining=draining))
            return
        self._world.die(old, replaced=action.name)
        self._world.post(took)
        if action.name in FORWARDS_AGENT:
            failed = Problem("unknown", "no link") if new.master.pid % 2 else None
            found = Evidence.of(agent_socket="linked" if failed is None else "failed")
            self._world.post(e.AgentSocketUpdated(0, action.name, new.master.pid, found, failed))

    def _remember(self, action: a.Remember) -> None:
        name = action.name
        host = self._world.state.hosts.get(name)
        if host is None or host.draining is not None:
            return
        paused = None if host.user.paused_until is None else host.user.paused_until - self._world.clock.now
        worked = self._world.clock.now - host.login.worked_at if host.login.worked_at > 0 else None
        held = host.user.held and not host.user.until_restart
        now, retry = self._world.clock.now, host.retry
        stop = None
        if retry.kind is not None and retry.kind in STOPS and host.problem is not None:
            due_in_s = None if retry.at is None else retry.at - now
            where = (retry.network, retry.source)
            stop = e.Refusal(retry.kind, host.problem, due_in_s, retry.by_jump, retry.proven, *where)
        self._world.kept[name] = e.Remembered(
            now, name, held, paused, host.reached.networks, host.reached.learned_vpn, host.addresses, worked,
            refused_ago_s=tuple(now - at for at in host.login.refused),
            refused_by_jump_ago_s=tuple(now - at for at in host.login.refused_by_jump),
            refusing_key=host.login.refusing_key,
            refused_elsewhere=tuple((now - at, key) for at, key in host.login.refused_elsewhere),
            refusal=stop, killing=host.killing,
            host_key=host.login.host_key,
            vpn=host.wish.vpn, networks=host.wish.networks, by_hand=host.forwards.by_hand,
        )  # fmt: skip


def failure_of(outcome: Outcome) -> Failure:
    """Return the failure that the agent would read from ssh's log.

    It is positive only if a host key was proven before.
    """
    kind = outcome.kind or "unknown"
    positive = outcome.key != ""
    if kind == "closed":
        return Failure(Problem("refused", kind), kind, perhaps_refused=positive)
    return Failure(Problem(_CODES.get(kind, "unknown"), kind), kind, positive, by_jump=not outcome.last)
