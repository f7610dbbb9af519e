"""The policy's invariants, checked against the true world. The rules keep their own memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.cast import CAST, Role, first_hop, sharing
from tests.sim.handshake import Leg, Outcome
from tests.sim.logins import Logins, Tried
from tests.sim.net import HOME_ONLY, INTERNAL, TUN, Flow
from tests.sim.spares import Spares
from tests.sim.sshd import key_of
from tests.sim.waits import Waits
from trayagent.core.decision_context import Why
from trayagent.core.facts import actions as a
from trayagent.core.facts.state import State

if TYPE_CHECKING:
    from tests.sim.inners import Inner
    from tests.sim.living import Living
    from tests.sim.world import World

SOON_S = 3.0
RETURNED_S = 10.0
RETURNED_USED_S = 20.0  # since the return
BACKOFF_S = 125.0  # TCP waits at most 120 s before it sends again


@dataclass
class Rules:
    """The checks. Each raises AssertionError, with the time and the host, if an invariant is broken."""

    world: World
    reached_at: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    needs_tunnel: set[str] = field(default_factory=set)
    # host and network, of the current agent
    failed_without_vpn: set[tuple[str, str]] = field(default_factory=set)
    proofs: dict[str, list[Tried]] = field(default_factory=lambda: defaultdict(list))
    logged_in: set[str] = field(default_factory=set)
    wished_down: set[str] = field(default_factory=set)
    disconnected: set[str] = field(default_factory=set)
    ended_at_once: set[str] = field(default_factory=set)
    renewed: set[str] = field(default_factory=set)  # hosts whose last `reconnect` had `--now`
    # hosts whose inner master the user ends with `-O exit`, which ends both masters
    exiting: set[str] = field(default_factory=set)
    stopping: bool = False  # the user runs `stop --masters`
    woke_at: float = -1e9

    def __post_init__(self) -> None:
        self.logins = Logins(self.world)
        self.waits = Waits(self.world)
        self.spares = Spares(self.world)

    def before(self, action: a.Action, state: State) -> None:
        """Check an action against the true world, just before the action is carried out."""
        match action:
            case a.Dial() | a.DialBare() | a.TryKeys():
                self._dial(action)
            case a.Abort():
                self.logins.aborted(action.attempt)
            case a.SendProbe(master=spare) | a.AttachRoaming(master=spare) if self.spares.has(spare.pid):
                self._hands_off(action.name, "probed")
                self.spares.may_be_used(action.name, spare.pid)
            case a.SendProbe():
                self._hands_off(action.name, "probed")
                assert action.master.control_path, self.says(action.name, "asked although it drains")
                self._may_be_tried(action.name, "probe")
            case a.EndRoaming():
                owner, drains, _ = action.name.partition(" draining ")
                inner = self.world.inners.living.get(action.name)
                wanted = self.stopping or owner in self.disconnected | self.renewed
                if drains:
                    wanted = wanted or owner in self.ended_at_once or inner is None or not inner.sessions
                assert wanted, self.says(action.name, "an inner master ended, and no user wanted that")
            case a.Kill():
                self._kill(action.name, action.master.pid, self._reason(action.name, state))
            case a.TakeOver(drain=True):
                pass  # the old master ends only if it carries no session or does not answer
            case a.TakeOver(old=old) if old is not None:
                self._kill(action.name, old.pid, self._reason(action.name, state))

    # 1. Each kill follows a proof, and never hits a master that could still have answered.

    def _kill(self, name: str, pid: int, reason: str) -> None:
        inner = pid in {one.master.pid for one in self.world.inners.living.values()}
        assert not inner, self.says(name, f"the inner master {pid} was killed")
        if reason == "user":
            return
        living = self.world.living.get(pid)
        if living is not None and " draining " in name and not living.draining:
            used = any(one.carrier is living for one in self.world.inners.living.values())
            assert not used, self.says(name, f"pid {pid} killed although it carries an inner master")
            return
        self._hands_off(name, "killed")
        if living is None or (living.draining and not self.world.sessions.of(living)):
            return
        now, connection = self.world.clock.now, living.connection
        if living.draining:
            gone = not self.world.net.has(connection.flow.local)
            assert gone, self.says(name, f"pid {pid} killed although it drains, and its address is there")
        if reason == "timer":
            assert not living.draining, self.says(name, f"pid {pid} drains, and was ended by the timer")
            assert now - self.woke_at >= 60, self.says(name, "ended by the timer too soon after a wake")
            return
        assert any(self._proves(tried, living) for tried in self.proofs[name]), self.says(
            name, f"pid {pid} killed without a control since {connection.changed_at:.3f}"
        )
        # If the path is again the one of the last proof of life, only the stay on another network made the master
        # silent. A tunnel's underlay does not belong to the path.
        direct = connection.flow.tunnel is None
        returned = direct and living.returned(self.world.net.signature(connection.flow))
        soon_s = RETURNED_S if returned else SOON_S
        if returned and living.sessions:
            soon_s = max(soon_s, connection.changed_at + RETURNED_USED_S - now)
        if direct and living.sessions and living.stayed(self.world.net.signature(connection.flow)):
            soon_s = BACKOFF_S
        if living.master.mptcp and self._in_tunnel(living):
            return  # its further subflows would go beside the tunnel
        spoke = connection.speaks_within(soon_s)
        assert not spoke, self.says(name, f"pid {pid} killed, but would have spoken (due {connection.due})")

    def _in_tunnel(self, living: Living) -> bool:
        """Report whether a new connection to a master's server would go through a tunnel."""
        way = self.world.net.way(living.connection.flow.peer)
        return way is not None and way.tunnel is not None

    def _proves(self, tried: Tried, living: Living) -> bool:
        """Report whether an attempt is a positive control for a master.

        In a positive control, ssh proved the host key of the master's server, which known_hosts or a record
        contains. An SSH banner, or another machine with that key, is enough only if the master's own address is gone.
        The attempt must have begun after the path last changed, or from another address.
        """
        connection, outcome = living.connection, tried.outcome
        gone = not self.world.net.has(connection.flow.local)
        late = tried.began >= connection.changed_at or (gone and tried.source != connection.flow.local)
        known = tried.bare or self._can_tell(living)
        same = outcome.key == connection.machine.name and known
        alike = key_of(outcome.key) == key_of(connection.machine.name) and known
        return late and (same or (gone and (outcome.banner or alike)))

    def _can_tell(self, living: Living) -> bool:
        """Report whether the host key of a master's server is known, from ssh's check or from the agent's own login."""
        role = self.world.roles[living.host]
        return role.strict != "no" or role.name in self.logged_in or not role.alias

    def _reason(self, name: str, state: State) -> str:
        """Return who caused a kill: "user" or "timer". For "", a proof is required."""
        host = self.world.state.hosts.get(name) or state.hosts.get(name)
        if self.stopping:
            return "user"
        if host is not None and host.draining is not None:
            return "user" if host.draining.owner in self.disconnected | self.ended_at_once else ""
        if name in self.disconnected | self.exiting or (
            host is not None and (host.user.held or host.by_user)
        ):
            return "user"
        whys = (what for _, what in reversed(self.world.log) if isinstance(what, Why) and what.name == name)
        last = next((why for why in whys if "draining" not in dict(why.evidence.pairs)), None)
        return "timer" if last is not None and (last.row, last.verdict) == (2, "end") else ""

    # 2. The agent tries nothing where that is not allowed, and nothing too often.

    def outcome(self, name: str, number: int, outcome: Outcome) -> None:
        """Record the result of an attempt."""
        tried = self.logins.over(number, outcome)
        if outcome.key or outcome.banner:
            self.proofs[name].append(tried)
        missed = outcome.kind is not None and not tried.by_user and name in self.needs_tunnel
        if missed and tried.place is not None:
            self.failed_without_vpn.add((name, tried.place))

    def unfinished(self, number: int, leg: Leg) -> None:
        """Count an unfinished handshake at a server."""
        self.logins.unfinished(number, leg)

    def redialled(self, number: int, flow: Flow) -> None:
        """Record that an attempt now uses another route, because the server sees it only from there."""
        tried = self.logins.tried[number]
        tried.flow, tried.place = flow, self._outside(flow)

    def _dial(self, action: a.Dial | a.DialBare | a.TryKeys) -> None:
        name, world = action.name, self.world
        by_user = isinstance(action, a.Dial) and action.purpose == "user"
        role = world.role_of(name)
        spare = isinstance(action, a.Dial) and action.purpose == "standby"
        flow = world.net.way(first_hop(role).peer, action.interface if isinstance(action, a.Dial) else None)
        tried = Tried(name, first_hop(role).machine, world.clock.now, by_user, flow)
        tried.bare = isinstance(action, a.DialBare)
        attempt = world.state.hosts[name].attempt
        tried.check = tried.bare and attempt is not None and attempt.purpose == "check"
        tried.place = self._outside(flow)
        self.logins.tried[action.attempt] = tried
        if by_user:
            self.wished_down.discard(name)
            return
        assert not self.stopping, self.says(name, "started although the agent is about to end")
        self._hands_off(name, "dialled")
        if spare:
            self.spares.may_be_made(name, role, flow)
        else:
            self._may_be_tried(name, "attempt")
        assert role.alias or isinstance(action, a.DialBare), self.says(name, "a login for a stranger")
        asks = role.wish is not None and role.wish.interactive and not isinstance(action, a.DialBare)
        assert not asks, self.says(name, "a login where a person is asked")
        if isinstance(action, a.Dial):
            wished = name in self.wished_down and not world.inners.has_earlier(name)
            assert not wished, self.says(name, "started although its end was somebody's wish")
            disconnected = name in self.disconnected
            assert not disconnected, self.says(name, "started although the user disconnected it")
            self._jump_host_first(name, role)
        self.logins.not_too_often(name, tried)

    def user_wants(self, name: str) -> None:
        """Record that the user requested a connection, which ends pauses and disconnects of the host."""
        self.disconnected.discard(name)
        self.wished_down.discard(name)
        self.spares.made.pop(name, None)
        self.world.end_pause(name)

    def spare_answered(self, living: Living) -> None:
        """Record the answer of a spare master. It proves as much as a login that began when it was requested."""
        if not living.spare:
            return
        role = self.world.roles[living.host]
        flow = living.connection.flow
        tried = Tried(living.host, role.machine, living.asked_at, by_user=False, flow=flow)
        tried.outcome = Outcome(key=living.connection.machine.name)
        self.proofs[living.host].append(tried)

    def spares_are_there(self) -> None:
        """Check that each host has a spare master after two networks worked for long enough."""
        for name, role in self.world.roles.items():
            self.spares.is_there(name, role)

    def _jump_host_first(self, name: str, role: Role) -> None:
        """Check that a jump host that the agent has to connect is connected. Hosts behind it must wait for it."""
        jump = CAST[role.jump] if role.jump is not None else None
        host = self.world.state.hosts.get(jump.name) if jump is not None else None
        if jump is None or host is None or not (jump.wish is not None and jump.wish.connect == "always"):
            return
        if not host.user.held and not self.world.paused_by_user(jump.name):
            up = self.world.listening(jump.name) is not None
            assert up, self.says(name, f"tried while {jump.name} is not connected")

    def reached(self, living: Living) -> None:
        """Record that a host was truly reached, with the network and whether through the tunnel."""
        flow = living.connection.flow
        name = living.host
        self.wished_down.discard(name)
        self.reached_at[name].add(self._here(flow))
        # The master's packets may leave through another interface now. The answer arrived, so that network counts,
        # too.
        way = self.world.net.way(first_hop(self.world.roles[name]).peer)
        if way is not None and way.segment != TUN:
            self.reached_at[name].add(self._here(way))
        if flow.tunnel is None:
            self.needs_tunnel.discard(name)
        elif flow.peer == INTERNAL:
            self.needs_tunnel.add(name)

    def _here(self, flow: Flow) -> str:
        return self.world.net.place(flow)

    def _outside(self, flow: Flow | None) -> str | None:
        """Return the network of a flow, or None if there is no flow or it goes through a tunnel."""
        return self._here(flow) if flow is not None and flow.tunnel is None else None

    def _may_be_tried(self, name: str, what: str) -> None:
        world, role = self.world, self.world.role_of(name)
        by_user, name = world.state.hosts[name].by_user, role.name
        if not by_user:
            assert world.net.online(), self.says(name, f"{what} without a network")
            assert not world.manager.in_portal, self.says(name, f"{what} in a captive portal")
            assert world.manager.allows(role), self.says(name, f"{what} on a network that is not allowed")
            flow = world.net.way(first_hop(role).peer)
            through_tunnel = flow is not None and flow.segment == TUN
            if not through_tunnel:
                self._without_vpn(name, role, flow, what)
            # The options of an unnamed master are unknown, and so are those of a host whose ssh_config was broken since
            # the agent's start. So the agent may probe the master, but not contact its address.
            resolved = role.alias and world.state.hosts[name].resolved is not None
            loose = self._loose(role) and (resolved or what == "attempt")
            if loose and role.peer in {HOME_ONLY, INTERNAL} and flow is not None:
                place = self._here(flow)
                reached = place in self.reached_at[name]
                assert reached, self.says(name, f"{what} at {place}, never reached there")

    def _without_vpn(self, name: str, role: Role, flow: Flow | None, what: str) -> None:
        """Check that the host needs no VPN.

        If the need is only learned, one attempt without it is allowed on each network.
        """
        configured = role.wish is not None and role.wish.vpn is not None
        assert not configured, self.says(name, f"{what} while its VPN is down")
        if name in self.needs_tunnel and flow is not None:
            careful = what == "attempt" and not self._loose(role)
            first = (name, self._here(flow)) not in self.failed_without_vpn
            assert careful and first, self.says(name, f"{what} while its learned VPN is down")

    def _loose(self, role: Role) -> bool:
        """Report whether ssh would log in at any machine that answers.

        With accept-new, it does until it knows the key.
        """
        return role.strict == "no" or (role.strict == "accept-new" and not self.reached_at[role.name])

    # 3. Healthy hosts get connected, and masters that the user ended stay down.

    def left(self, living: Living, *, by_request: bool) -> None:
        """Record that the user ended a master.

        It counts as a wish only if the network could not have been the reason.
        """
        for name in sharing(living.host):
            role = CAST[name]
            always = role.wish is not None and role.wish.connect == "always"
            host = self.world.state.hosts.get(name)
            if name != living.host and name not in self.world.known_as(living.master.pid):
                continue
            doubt = host is None or self.world.state.doubtful(host, self.world.clock.now, in_order=by_request)
            if not doubt and (by_request or not always):
                self.wished_down.add(name)

    def at_rest(self) -> None:
        """Check what must be true after the world was healthy and quiet for long enough."""
        world = self.world
        for name, role in world.roles.items():
            host = world.state.hosts.get(name)
            listening = world.listening(name)
            if host is None:
                continue
            if world.state.paused(host, world.clock.now):
                continue
            untold = listening is not None and not self._can_tell(listening)
            if host.suspect and host.master is not None and role.alias and not untold:
                raise AssertionError(self.says(name, "still in doubt"))
            if host.master is not None and host.master.started_by_agent and listening is not None:
                assert listening.connection.carries, self.says(name, "a stale master is still there")
            if host.master is not None and not host.suspect and not host.user.held:
                world.forwarding.at_rest(name, host)
        self.connected()
        for name in world.roles:
            if name in world.state.hosts and not world.state.paused(world.state.hosts[name], world.clock.now):
                world.inners.ports.at_rest(name)
        self._one_each()
        self._earlier_sessions_continue()

    def connected(self) -> None:
        """Check that every host is connected that should be and may be connected."""
        world = self.world
        for name, role in world.roles.items():
            host, listening = world.state.hosts.get(name), world.listening(name)
            if host is None or role.wish is None or world.state.paused(host, world.clock.now):
                continue
            always = role.wish.connect == "always" and not role.wish.interactive and not host.user.held
            untold = listening is not None and not self._can_tell(listening)
            if always and not untold and self._allowed_in_the_end(name):
                assert listening is not None, self.says(name, f"not connected: {host.problem} {host.retry}")
                # The sessions of a host that roams wait for their machine, which the agent tries once on each network.
                shown = world.shown(name)
                assert shown == "connected" or host.waits_for_machine, self.says(name, f"shown as {shown}")

    def _allowed_in_the_end(self, name: str) -> bool:
        role = self.world.roles[name]
        flow = self.world.net.way(first_hop(role).peer)
        if self._loose(role) and role.peer in {HOME_ONLY, INTERNAL}:
            return flow is not None and self._here(flow) in self.reached_at[name]
        return self.world.manager.allows(role)

    def _earlier_sessions_continue(self) -> None:
        """Check that each inner master that drains has a link, if the host's outer master reaches its machine.

        Even an on-use host must have an outer master for them.
        """
        for inner in self.world.inners.living.values():
            owner, drains, _ = inner.host.partition(" draining ")
            if drains and inner.sessions:
                self._has_outer_or_may_not(owner, inner)
            outer, host = self.world.listening(owner), self.world.state.hosts.get(owner)
            if not drains or outer is None or host is None or host.roaming is None or not host.linked:
                continue
            if outer.connection.machine.name == inner.machine and host.roaming.carrier == outer.master.pid:
                carried = inner.carrier is not None and inner.carrier.connection.carries
                assert carried, self.says(inner.host, "its sessions wait forever")

    def _has_outer_or_may_not(self, owner: str, inner: Inner) -> None:
        """Check that the sessions of an inner master that drains do not wait for a host that the agent leaves idle."""
        world, role = self.world, self.world.roles[owner]
        host = world.state.hosts.get(owner)
        if host is None or host.user.held or world.state.paused(host, world.clock.now):
            return
        if role.wish is None or role.wish.interactive or not self._allowed_in_the_end(owner):
            return
        carried = inner.carrier is not None and inner.carrier.connection.carries
        assert carried or world.listening(owner) is not None, self.says(
            inner.host, "no master for its sessions"
        )

    # 4. Each host has at most one master of the agent, and the agent does not touch paused hosts.

    def _one_each(self) -> None:
        inners = self.world.inners
        living = [x for x in self.world.living.values() if not x.draining and not inners.drains_with(x)]
        self.spares.one_each()
        ours = [CAST[x.host].path for x in living if x.master.started_by_agent and not x.spare]
        for path in set(ours):
            assert ours.count(path) == 1, self.says(path, f"{ours.count(path)} masters of ours")

    def _hands_off(self, name: str, what: str) -> None:
        world = self.world
        paused = world.paused_by_user(name.partition(" draining ")[0])
        assert not paused or world.state.hosts[name].by_user, self.says(name, f"{what} although paused")

    # Notices from the world.

    def restarted(self) -> None:
        """Start over for another agent: the attempts of the previous one have ended."""
        self.stopping = False
        self.logins.tried.clear()
        self.failed_without_vpn.clear()
        self.logins.cut.clear()
        self.waits.restarted()

    def says(self, name: str, what: str) -> str:
        """Return the message of a broken rule, with the transcript before it."""
        return f"t={self.world.clock.now:.3f} {name}: {what}\n{self.world.told()}"
