"""A virtual world around `decide`: it carries out the decided actions and feeds the results back as events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from msgspec.structs import replace

from tests.sim.cast import CAST, VPNS, Role, first_hop, sharing
from tests.sim.clock import Clock
from tests.sim.forwarding import Forwarding
from tests.sim.hands import Hands
from tests.sim.handshake import Handshake, Leg, Outcome, shown_key
from tests.sim.idle_hosts import overlooked
from tests.sim.inners import Inners
from tests.sim.living import Living, in_words
from tests.sim.manager import Manager
from tests.sim.net import SPOTS, Flow, Net, Spot
from tests.sim.ports import PORT
from tests.sim.rules import Rules
from tests.sim.sessions import Sessions
from tests.sim.sshd import Machines
from tests.sim.tcp import Connection
from trayagent.core.decide import decide
from trayagent.core.display_state import display_state
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import Host, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Touched
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.state import State
from trayagent.core.usable_routes import lookups

_KEEP_ALIVE_S = 60.0
_KEEPS_S = 4.0  # ssh sends a probe at the agent's first check more than 3.1 s after it continued
TICK_S = 10.0
RESOLVES_S = 0.02
USED_AGAIN_S = 6.0
UPLOAD_S, QUEUE_S = 120.0, 6.0
FIRST_LOOK_S, LOOK_SOON_S = 4.0, 3.0  # as in agent/masters/watch_use.py


class World:
    """The laptop, its networks, the servers and the user. `t` in transcripts is `clock.now`.

    `checks_idle_hosts`: check after each event that no host was skipped that could do something. That doubles the time.
    """

    def __init__(self, names: tuple[str, ...], rtt_s: float, *, checks_idle_hosts: bool = False) -> None:
        self._checks_idle_hosts = checks_idle_hosts
        self.clock = Clock()
        self.net = Net(rtt_s=rtt_s)
        self.machines = Machines()
        self.rules = Rules(self)
        self.sessions = Sessions(self)
        self.manager = Manager(self)
        self.inners = Inners(self)
        self.forwarding = Forwarding(self)
        self.obstacles: dict[str, FailureKind] = {}  # by host, "" for all
        self.config_broken = False
        self.agent = 0  # the number of the current agent; results of earlier agents' actions are dropped
        self.hands = Hands(self)
        self.first_node = 0  # which of the addresses of a name answers first
        self.rests = False  # whether nothing happens any more, except what the agent does
        self.roams = False  # whether the listed hosts roam
        self.spares = False  # whether the listed hosts have spare masters
        self.roles = {name: CAST[name] for name in CAST if name in names}
        self.state = State()
        self.living: dict[int, Living] = {}
        # everything that happened; converted to text only when it is printed
        self.log: list[tuple[float, object]] = []
        self._paused: dict[str, float] = {}
        self.kept: dict[str, e.Remembered] = {}
        self._pid = 100
        self._queue: list[e.Event] = []
        self._deciding = self._starting = False
        self._answered_in = self.state.snapshot
        self._answered_for: Mapping[str, Host] = {}
        self.start_agent()
        self._tick()

    def _tick(self) -> None:
        self.rules.waits.look()
        self.clock.after(TICK_S, self._tick)

    # Events for the agent.

    def post(self, event: e.Event) -> None:
        """Pass an event to the agent, after the current decision."""
        self._queue.append(event)
        if self._deciding:
            return
        self._deciding = True
        while self._queue:
            self._decide(self._queue.pop(0))
            if self._lookup_missing():
                self._queue.insert(0, self._read(Touched()))
        self._deciding = False

    def _lookup_missing(self) -> bool:
        """Report whether the snapshot lacks a route lookup of a host. Check only changed hosts and snapshots."""
        hosts, snapshot = self.state.hosts, self.state.snapshot
        old = self._answered_for if snapshot is self._answered_in else {}
        changed = [host for name, host in hosts.items() if old.get(name) is not host]
        self._answered_for, self._answered_in = hosts, snapshot
        return not lookups(changed, snapshot) <= snapshot.matched.keys()

    def _decide(self, event: e.Event) -> None:
        event = replace(event, at=self.clock.now)
        self.log.append((self.clock.now, event))
        self.rules.waits.turns(event)
        before = self.state
        decision = decide(before, event)
        self.state = decision.state
        self.log += [(self.clock.now, why) for why in decision.whys]
        if self._checks_idle_hosts:
            found = overlooked(self.state, self.clock.now)
            assert not found, self.rules.says("", f"skipped, although something follows: {found}")
        for action in decision.actions:
            kind = type(action)
            if kind is not a.Publish and kind is not a.SetTimer and kind is not a.Remember:
                self.log.append((self.clock.now, action))
                self.rules.before(action, before)
            self.hands.carry_out(action)
        if self.spares:
            self.rules.spares.none_beside_a_tunnel()

    def change_network(self, change: Callable[[Net], None], seen: Touched | None = None) -> None:
        """Change the true network. The kernel reports the change at once."""
        old = self.net.scene()
        change(self.net)
        touched = self.net.changed(old) | (seen or Touched())
        self.look()
        for living in self.living.values():
            if seen and self.net.touches(living.connection.flow, seen):
                living.connection.changed_at = self.clock.now
        self.log.append((self.clock.now, f"network: {self.net.scene().label}"))
        self.post(self._read(touched))
        self.manager.report()

    def look(self) -> None:
        """Make every connection handle changes of its path and machines."""
        for living in list(self.living.values()):
            living.connection.look()
            living.look(self.net.signature(living.connection.flow))

    def read(self) -> None:
        """Make the agent read the network."""
        self.post(self._read(Touched()))

    def _read(self, touched: Touched) -> e.NetworkRead:
        wanted = lookups(self.state.hosts.values(), self.state.snapshot)
        return e.NetworkRead(self.clock.now, self.net.snapshot(wanted), touched)

    # The agent.

    def start_agent(self) -> None:
        """Start the agent (again). It gets its records, and finds the living masters."""
        self.agent += 1
        self._starting = True
        self.rules.restarted()
        self.hands.cut()
        self.hands = Hands(self)
        known = {host.master.pid for host in self.state.hosts.values() if host.master is not None}
        self.state = State()
        self._paused.pop("", None)
        for living in [x for x in self.living.values() if x.master.control_path.endswith(".new")]:
            self.die(living)
        wishes = self._wishes()
        self.post(self._read(Touched()))
        self.manager.report()
        self.post(e.Configured(0, wishes, VPNS, True, 600.0))
        for name in wishes:
            self.post(self._resolved(self.roles[name], lookups=True))
        owners = {living.host for living in self.living.values() if living.draining}
        for name in (*wishes, *sorted(owners - wishes.keys())):
            if name in self.kept:
                self.post(self._aged(name))
        self._starting = False
        self.inners.found()
        for living in list(self.living.values()):
            living.proven_over = None  # this agent does not know when the master last proved its life
            if living.draining:
                draining = Draining(living.host, self.clock.now, self.sessions.of(living))
                self.post(e.DrainingFound(0, living.master, draining))
            elif not self.inners.drains_with(living):
                self._found(living, fresh=False, survivor=living.master.pid in known)
        for name in sorted(wishes):
            if self.roles[name].moves:  # doctor has seen the server answer
                self.post(e.MptcpChecked(0, name, "answered"))
        self.post(e.Started(0))

    def _wishes(self) -> dict[str, Wish]:
        wishes = {r.name: r.wish for r in self.roles.values() if r.wish is not None}
        return {
            name: replace(
                wish,
                roam=self.roams and wish.listed,
                standby=self.spares and wish.listed,
                roam_port=str(PORT) if self.roams and self.roles[name].ported else None,
            )
            for name, wish in wishes.items()
        }

    def roam(self) -> None:
        """Switch roaming on for all listed hosts, as the user does in the configuration."""
        self.roams = True
        self.post(e.Configured(0, self._wishes(), VPNS, True, 600.0))

    def keep_spares(self) -> None:
        """Switch standby on for all listed hosts. The network manager reports what is metered."""
        self.spares = True
        for role in self.roles.values():
            if role.name in self.state.hosts and role.alias:
                self.post(self._resolved(role, lookups=True))
        self.manager.start()
        self.post(e.Configured(0, self._wishes(), VPNS, True, 600.0))

    def meter(self, interface: str, *, on: bool) -> None:
        """Make the traffic of an interface cost money, or not. The network manager reports that."""
        (self.net.metered.add if on else self.net.metered.discard)(interface)
        self.manager.report()

    def _aged(self, name: str) -> e.Remembered:
        """Return the record of a host, with its times adjusted to its age."""
        kept = self.kept[name]
        age = self.clock.now - kept.at
        due = kept.refusal.retry_in_s if kept.refusal is not None else None
        refusal = (
            replace(kept.refusal, retry_in_s=max(due - age, 0.0)) if kept.refusal and due else kept.refusal
        )
        left = None if kept.paused_for_s is None else kept.paused_for_s - age
        kept = replace(kept, paused_for_s=left if left is not None and left > 0 else None)
        return replace(
            kept,
            refused_ago_s=tuple(a + age for a in kept.refused_ago_s),
            refused_by_jump_ago_s=tuple(a + age for a in kept.refused_by_jump_ago_s),
            refused_elsewhere=tuple((a + age, key) for a, key in kept.refused_elsewhere),
            refusal=refusal,
        )

    # The user.

    def connect_by_hand(self, name: str, *, takes_path: bool = False) -> None:
        """Start a master as the user would with ssh, if no master listens on the path and the login succeeds.

        `takes_path`: the user removed the control socket of the inner master before.
        """
        role = self.roles[name]
        roams = self.inners.owner(name) is not None
        if takes_path != roams or (self.listening(name) is not None and not roams):
            return

        def done(_outcome: Outcome, connection: Connection | None) -> None:
            if connection is None or (takes_path and not self.inners.drain(name)):
                return
            if self.listening(name) is None and self.inners.owner(name) is None:
                # the user's own connection ends the effect of `disconnect`
                self.rules.disconnected.discard(name)
                self._found(self.born(role, connection, started_by_agent=False, path=role.path), fresh=True)

        through, legs, peer = self.way_of(role)
        peer = self.answering(role) if role.nodes else peer
        Handshake(
            self.clock, self.net, self.machines, peer, legs, bare=False, through=through,
            established=lambda _flow: None, done=done, unfinished=lambda _leg: None,
        )  # fmt: skip

    def leave(self, name: str, *, by_request: bool) -> None:
        """End the host's master as the user would, with `ssh -O exit` if `by_request`."""
        living = self.listening(name)
        names = set(sharing(name))
        roams = self.inners.owner(name)
        known = set(self.known_as(self.inners.living[roams].master.pid)) if roams is not None else set()
        if roams is not None:  # if the host roams, the inner master is on the control path
            if by_request:
                self.forwarding.given -= names
                self.rules.wished_down |= {roams} | known
                self.rules.exiting |= names
                self.inners.end(roams, by_request=True)
                self.rules.exiting -= names
            return
        if living is not None:
            self.forwarding.given -= names
            self.rules.left(living, by_request=by_request)
            self.die(living, by_request=by_request)

    def upload(self, name: str) -> None:
        """Make a session of the host's master send at full rate."""
        living = self.listening(name)
        if living is not None:
            living.connection.fill(UPLOAD_S, QUEUE_S)

    def use(self, name: str) -> None:
        """Make a program of the user send a byte through the host's master, and another one soon after.

        The agent looks at each of them 4 s later.
        """
        living = self.listening(name)
        if living is None:
            return
        self._write(name, living)
        self.post(e.MasterUsed(0, name, living.master.pid))
        self.clock.after(USED_AGAIN_S, lambda: self._write(name, living))

    def _write(self, name: str, living: Living) -> None:
        if self.listening(name) is living:
            living.connection.send(answered=False)
            self.clock.after(FIRST_LOOK_S, lambda: self._look(name, living))

    def _look(self, name: str, living: Living) -> None:
        """Report a byte that got no acknowledgement, and look again until it gets one."""
        if self.listening(name) is not living or living.connection.due is None:
            return
        if living.connection.stalled:
            self.post(e.MasterUsed(0, name, living.master.pid, stalled=True))
        self.clock.after(LOOK_SOON_S, lambda: self._look(name, living))

    def answering(self, role: Role) -> str:
        """Return the address that answers first, of those to which the host's name leads."""
        nodes = (*role.nodes[self.first_node :], *role.nodes[: self.first_node])
        up = (
            node
            for node in nodes
            if (machine := self.machines.at(Flow("", node, ""))) is not None and machine.up
        )
        return next(up, nodes[0])

    def role_of(self, name: str) -> Role:
        """Return the role of a host. The name may be that of a draining master of the host."""
        return self.roles[name.partition(" draining ")[0]]

    def hang(self, name: str) -> None:
        """Make the server's end of the host's master hang, so that it answers nothing any more."""
        living = self.listening(name)
        if living is not None:
            living.connection.stuck = True

    def deafen(self, name: str) -> None:
        """Make the sentinel of the host's master hang, while the server answers everything else."""
        living = self.listening(name)
        if living is not None:
            living.deaf = True

    def suspend(self, name: str) -> None:
        """Suspend the host's master, as the user would."""
        living = self.listening(name)
        if living is not None:
            living.suspended = True

    def go_on(self, name: str) -> None:
        """Continue the host's suspended master. It then sends and reads the data that waited."""
        living = self.listening(name)
        if living is None:
            return
        if living.suspended:
            living.keeps_until = self.clock.now + _KEEPS_S
        living.suspended = False
        for other in [x for x in self.living.values() if not x.stopped]:
            if other.connection.closed:
                self.die(other, "died")
            if other.unread:
                other.unread = False
                self._answered(other)
            if other.unsent:
                other.unsent = False
                other.send()

    def listening(self, name: str) -> Living | None:
        """Return the master on a host's control path, or the outer master if the host roams."""
        paths = {CAST[name].path if name in CAST else "", *(f"/cm/{one}.outer" for one in sharing(name))}
        return next((x for x in self.living.values() if x.master.control_path in paths), None)

    def reboot(self, machine: str, nologin_s: float) -> None:
        """Reboot a server: it is down for 40 s, and then refuses all logins for `nologin_s`."""
        server = self.machines.named(machine)
        server.up = False
        self.look()

        def up() -> None:
            server.reborn()
            server.nologin_until = self.clock.now + nologin_s
            self.look()

        self.clock.after(40.0, up)

    def command(
        self,
        event: user_events.UserReconnect
        | user_events.UserDisconnect
        | user_events.UserPause
        | user_events.UserResume,
    ) -> None:
        """Run a command of the user."""
        names = tuple(n for n in event.names if n in self.state.hosts)
        if event.names and not names:
            return
        event = replace(event, names=names)
        match event:
            case user_events.UserDisconnect():
                self.rules.disconnected |= set(names)
                self.forwarding.given -= set(names)
            case user_events.UserReconnect():
                for name in names:
                    self.rules.user_wants(name)
                ended = {other for name in names for other in sharing(name)}
                self.rules.renewed -= ended
                if event.at_once:
                    self.rules.renewed |= ended
            case user_events.UserPause():
                self._paused |= dict.fromkeys(names or ("",), self.clock.now + (event.for_s or inf))
            case user_events.UserResume():
                for name in names or tuple(self._paused):
                    self._paused.pop(name, None)
        self.post(event)

    def end_pause(self, name: str) -> None:
        """End the pause of a host, because the user requested a connection."""
        self._paused.pop(name, None)

    def stop_masters(self) -> None:
        """Stop the agent with `stop --masters`. The next agent starts 3 s later."""
        agent = self.agent
        self.rules.stopping = True
        self.forwarding.given.clear()
        self.post(user_events.UserStopMasters(0))

        def start() -> None:
            self.rules.stopping = False
            if agent == self.agent:
                self.start_agent()

        self.clock.after(3.0, start)

    def sleep(self, wakes_at: dict[str, Spot]) -> None:
        """Let the laptop sleep and wake on the networks in `wakes_at`. The monotonic clock stands still meanwhile."""
        self.rules.woke_at = self.clock.now
        for living in self.living.values():
            living.proven_over = None  # the laptop may have been on another network meanwhile
        for interface in tuple(self.net.spots):
            self.manager.leave(interface)
        self.change_network(lambda net: net.spots.update(wakes_at))
        self.post(e.Woke(0, 3600.0))

    def paused_by_user(self, name: str) -> bool:
        """Report whether the user paused the host or everything."""
        # Allow for rounding: the records give the next agent the rest of a pause.
        return any(self._paused.get(key, -1.0) > self.clock.now + 1e-6 for key in (name, ""))

    def told(self, last: int = 80) -> str:
        """Return the last `last` entries of the log as text."""
        return "\n".join(f"{at:10.3f} {in_words(what)}" for at, what in self.log[-last:])

    def shown(self, name: str) -> str:
        """Return the state that `status` shows."""
        return display_state(self.state.hosts[name], self.state, self.clock.now)

    # Processes.

    def way_of(self, role: Role) -> tuple[Connection | None, tuple[Leg, ...], str]:
        """Return the connection of the jump host's master (or None), the remaining hops, and the first address.

        Without a master of the jump host, ssh also logs in at the jump host.
        """
        carrier = self.listening(role.jump) if role.jump is not None else None
        if role.jump is None or carrier is not None:
            through = carrier.connection if carrier is not None else None
            return through, (role.leg(),), first_hop(role).peer
        through, legs, peer = self.way_of(CAST[role.jump])
        return through, (*legs, role.leg()), peer

    def born(
        self, role: Role, connection: Connection, *, started_by_agent: bool, path: str, key: str = ""
    ) -> Living:
        """Create a master that listens on this path."""
        self._pid += 1
        pid = self._pid
        under = connection.under
        carrier = next((x for x in self.living.values() if x.connection is under), None)
        flow = connection.flow
        master = Master(
            pid, 7, path, started_by_agent=started_by_agent, local=flow.local, local_port=pid, peer=flow.peer,
            peer_port=22, direct=role.jump is None, carrier=carrier.master.pid if carrier is not None else None,
            min_rtt_s=self.net.rtt_s, host_key=shown_key(key, role.key_type), bound=flow.bound,
            mptcp=started_by_agent and connection.moves, spare=started_by_agent and flow.bound is not None,
        )  # fmt: skip
        living = Living(master, role.name, connection, carrier, key)
        connection.on_answer = lambda: self._answered(living)
        connection.on_reset = lambda: None if living.stopped else self.die(living, "died")
        connection.look()
        living.proven(self.net.signature(flow), self.clock.now)
        self.living[pid] = living
        self.rules.reached(living)
        if started_by_agent:
            self.clock.after(_KEEP_ALIVE_S, lambda: self._keep_alive(living))
        return living

    def resolve(self, action: a.Resolve) -> None:
        """Run `ssh -G` for a host. At its start, the agent does so for all hosts before anything else."""
        agent, name, lookups = self.agent, action.name, action.lookups
        if self._starting or name not in self.roles:
            return

        def answer() -> None:
            if agent == self.agent:
                self.post(self._resolved(self.roles[name], lookups=lookups))

        self.clock.after(RESOLVES_S, answer)

    def change_config(self, *, broken: bool) -> None:
        """Make the user's ssh_config invalid or valid. The agent runs `ssh -G` again for all hosts."""
        self.config_broken = broken
        for name, role in self.roles.items():
            if name in self.state.hosts and role.alias:
                self.post(self._resolved(role, lookups=True))

    def _resolved(self, role: Role, *, lookups: bool) -> e.HostResolved | e.ResolveFailed:
        if self.config_broken:
            failure = Failure(Problem("config-error", "broken"), "config")
            return e.ResolveFailed(0, role.name, failure, lookups_allowed=lookups)
        resolved = role.resolved()
        if self.spares:
            resolved = replace(resolved, plain_connect=role.jump is None)
        return e.HostResolved(
            0,
            role.name,
            resolved,
            role.hop(),
            varies=role.varies,
            lookups_allowed=lookups,
            known_keys=role.known_keys | self._learned_key(role),
            later_hops=role.later_hops(),
        )

    def _learned_key(self, role: Role) -> frozenset[str]:
        """Return the key that ssh stored in known_hosts at its first login, with StrictHostKeyChecking accept-new."""
        learned = role.strict == "accept-new" and bool(self.rules.reached_at[role.name])
        key = shown_key(role.machine, role.key_type) if learned else None
        return frozenset() if key is None else frozenset({key})

    def _found(self, living: Living, *, fresh: bool, survivor: bool = False) -> None:
        role, flow = self.roles[living.host], living.connection.flow
        living.master = replace(living.master, local=flow.local, peer=flow.peer)
        if role.wish is None and role.name in self.kept and role.name not in self.state.hosts:
            self.post(self._aged(role.name))
        self.post(e.MasterFound(0, role.name, living.master, not role.alias, fresh, survivor))
        if role.alias and role.wish is None:
            self.post(self._resolved(role, lookups=True))
        self.forwarding.found(role.name, living.master.pid)

    def _answered(self, living: Living) -> None:
        if living.stopped:
            living.unread = True
            return
        living.unanswered = 0
        living.proven(self.net.signature(living.connection.flow), self.clock.now)
        if living.master.pid in self.living and living.asked:
            living.asked = False
            self.rules.reached(living)
            self.rules.spare_answered(living)
            self.post(e.ProbeAnswered(0, living.asked_by, living.master.pid))

    def _keep_alive(self, living: Living) -> None:
        if living.master.pid not in self.living:
            return
        if living.stopped:
            self.clock.after(_KEEP_ALIVE_S, lambda: self._keep_alive(living))
            return
        if living.unanswered >= 2:
            self.die(living, "died")
            return
        # While the world rests, nothing comes between a byte and its answer.
        if self.rests and not living.asked and living.connection.exchange_at_once():
            self._answered(living)
            self.clock.after(_KEEP_ALIVE_S, lambda: self._keep_alive(living))
            return
        living.unanswered += 1
        living.send()
        self.clock.after(_KEEP_ALIVE_S, lambda: self._keep_alive(living))

    def die(
        self,
        living: Living | None,
        kind: FailureKind | None = None,
        *,
        by_request: bool = False,
        replaced: str | None = None,
    ) -> None:
        """End a master, and with it the masters that it carries. Do nothing if it has already ended.

        `replaced`: the host that takes its control path over. The others learn of the end from that.
        """
        if living is None or self.living.pop(living.master.pid, None) is None:
            return
        self.forwarding.close(living.master.pid, living.connection)
        living.connection.closed = True
        said = Failure(Problem("unknown", kind), kind) if kind is not None else None
        known = (replaced,) if replaced is not None else self.known_as(living.master.pid)
        for name in known or (living.host,):
            self.post(e.MasterEnded(0, name, living.master.pid, said, by_request))
        self.inners.lost(living)
        if living.carrier is not None:
            self.sessions.end_if_drained(living.carrier)
        for other in [x for x in self.living.values() if x.carrier is living]:
            self.clock.after(0.003, lambda other=other: self.die(other, "died"))  # type: ignore[misc]

    def known_as(self, pid: int) -> tuple[str, ...]:
        """Return the hosts whose master the agent watches under this pid. A draining one has a name of its own."""
        hosts = self.state.hosts.values()
        return tuple(host.name for host in hosts if any(master.pid == pid for master in host.masters))

    # Networks to join.

    def plug(self, spot: str) -> None:
        """Connect to a network: plug in the cable, or associate the radio."""
        there = SPOTS[spot]
        before = self.net.spots.get(there.interface)
        # On a change of network, a radio's carrier goes and comes, even if the addresses are the same.
        links = {there.interface} if before is not None and before.segment != there.segment else set()
        for interface in links:
            self.manager.leave(interface)

        def change(net: Net) -> None:
            net.spots[there.interface] = there
            net.dark.discard(there.interface)

        self.change_network(change, Touched(links=frozenset(links)))

    def unplug(self, interface: str) -> None:
        """Leave the network on an interface."""

        def change(net: Net) -> None:
            net.spots.pop(interface, None)
            net.dark.discard(interface)

        self.change_network(change)
