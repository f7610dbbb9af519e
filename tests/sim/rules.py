"""The policy's invariants, checked against the true world with a memory of their own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.net import HOME_ONLY, INTERNAL, TUN, Flow
from trayagent.core import actions as a
from trayagent.core.failure import FailureKind
from trayagent.core.state import State
from trayagent.core.turn import Why

if TYPE_CHECKING:
    from tests.sim.world import Living, World

REFUSED_IN_TEN_MINUTES = 2
FAILED_PER_MINUTE = 6  # or as many as the server has hosts, where that is more
UNFINISHED_IN_HALF_A_MINUTE = 5  # or two for each host
AT_ONCE = 6
SOON_S = 3.0


@dataclass
class Tried:
    """One attempt, as the world saw it."""

    host: str
    server: str
    began: float
    by_user: bool
    source: str | None
    place: str | None = None
    network: str = ""
    seen: bool = False
    succeeded: bool = False
    over: bool = False
    failed_at: float | None = None
    cut_at: float | None = None


@dataclass
class Rules:
    """Raises AssertionError, with the time and the host, where an invariant is broken."""

    world: World
    tried: dict[int, Tried] = field(
        default_factory=dict
    )  # by this agent; an earlier one's numbers begin again
    refused: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    reached_at: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    needs_tunnel: set[str] = field(default_factory=set)
    failed_without_vpn: set[tuple[str, str]] = field(default_factory=set)  # host and place, of this agent
    positives: dict[str, list[Tried]] = field(default_factory=lambda: defaultdict(list))
    wished_down: set[str] = field(default_factory=set)
    disconnected: set[str] = field(default_factory=set)
    woke_at: float = -1e9

    def before(self, action: a.Action, state: State) -> None:
        """Check an action against the world as it is when the action is carried out."""
        match action:
            case a.Dial() | a.DialBare() | a.TryKeys():
                self._dial(action)
            case a.Abort():
                tried = self.tried[action.attempt]
                tried.cut_at, tried.over = self.world.clock.now, True
            case a.SendProbe():
                self._hands_off(action.name, "probed")
                self._may_be_tried(action.name, "probe")
            case a.Kill():
                self._kill(action.name, action.master.pid, self._reason(action.name, state))
            case a.TakeOver(old=old) if old is not None:
                self._kill(action.name, old.pid, self._reason(action.name, state))
            case _:
                pass

    # 1. Each kill follows a proof, and takes nothing that could have spoken.

    def _kill(self, name: str, pid: int, reason: str) -> None:
        if reason == "user":
            return
        self._hands_off(name, "killed")
        living = self.world.living.get(pid)
        if living is None:
            return
        now, connection = self.world.clock.now, living.connection
        if reason == "timer":
            awake_since = self.woke_at
            assert now - awake_since >= 60, self._says(name, "ended by the timer too soon after a wake")
            return
        gone = not self.world.net.has(connection.flow.local)
        proofs = [
            t
            for t in self.positives[name]
            if t.began >= connection.changed_at or (gone and t.source != connection.flow.local)
        ]
        assert proofs, self._says(
            name, f"pid {pid} killed without a control since {connection.changed_at:.3f}"
        )
        spoke = connection.speaks_within(SOON_S)
        assert not spoke, self._says(name, f"pid {pid} killed, but would have spoken (due {connection.due})")

    def _reason(self, name: str, state: State) -> str:
        """Return whether a kill is the user's word or the timer's; "" asks for a proof."""
        host = self.world.state.hosts.get(name) or state.hosts.get(name)
        if name in self.disconnected or (host is not None and (host.held or host.by_user)):
            return "user"
        whys = (what for _, what in reversed(self.world.log) if isinstance(what, Why) and what.name == name)
        last = next(whys, None)
        return "timer" if last is not None and (last.row, last.verdict) == (2, "end") else ""

    def positive(self, name: str, number: int) -> None:
        """An attempt was answered by the right server."""
        tried = self.tried[number]
        tried.succeeded = tried.over = True
        self.positives[name].append(tried)

    # 2. Nothing where it may not be tried, and nothing too often.

    def over(self, number: int) -> None:
        """A login succeeded and was ended at once."""
        tried = self.tried[number]
        tried.succeeded = tried.over = True

    def _dial(self, action: a.Dial | a.DialBare | a.TryKeys) -> None:
        name, now, world = action.name, self.world.clock.now, self.world
        by_user = isinstance(action, a.Dial) and action.purpose == "user"
        role = world.roles[name]
        flow = world.net.way(role.peer)
        source = flow.local if flow is not None else None
        place = self._here(flow) if flow is not None and flow.segment != TUN else None
        network = self._here(flow) if flow is not None else ""
        self.tried[action.attempt] = Tried(name, role.hostname, now, by_user, source, place, network)
        if by_user:
            self.wished_down.discard(name)
            return
        self._hands_off(name, "dialled")
        self._may_be_tried(name, "attempt")
        assert role.alias or isinstance(action, a.DialBare), self._says(name, "a login for a stranger")
        assert not (role.wish is not None and role.wish.interactive and not isinstance(action, a.DialBare)), (
            self._says(name, "a login where a person is asked")
        )
        if isinstance(action, a.Dial):
            assert name not in self.wished_down, self._says(
                name, "started although its end was somebody's wish"
            )
            assert name not in self.disconnected, self._says(
                name, "started although the user disconnected it"
            )
        self._not_too_often(name, role.hostname, network)

    def _not_too_often(self, name: str, server: str, network: str) -> None:
        """Check what the server has seen of us from here, the user's own word aside."""
        now = self.world.clock.now
        hosts = sum(role.hostname == server for role in self.world.roles.values())
        ours = [t for t in self.tried.values() if t.server == server and not t.by_user]
        running = [t for t in ours if not t.over]
        assert len(running) <= AT_ONCE, self._says(name, f"{len(running)} attempts at once on {server}")
        from_here = [t for t in ours if t.network == network and t.seen]
        failed = [t for t in from_here if t.failed_at is not None and now - t.failed_at < 60]
        assert len(failed) <= max(FAILED_PER_MINUTE, hosts), self._says(
            name, f"{len(failed)} failures on {server} in a minute"
        )
        unfinished = [t for t in from_here if t.cut_at is not None and now - t.cut_at < 30]
        assert len(unfinished) <= max(UNFINISHED_IN_HALF_A_MINUTE, 2 * hosts), self._says(
            name, f"{len(unfinished)} unfinished connections on {server} in half a minute"
        )

    def established(self, number: int) -> None:
        """A server has seen an attempt."""
        if number in self.tried:
            self.tried[number].seen = True

    def failed(self, name: str, number: int, kind: FailureKind) -> None:
        """An attempt failed."""
        tried = self.tried[number]
        tried.over, tried.succeeded = True, False
        tried.failed_at = self.world.clock.now
        if tried.place is not None and not tried.by_user and name in self.needs_tunnel:
            self.failed_without_vpn.add((name, tried.place))
        if kind != "auth" or tried.by_user:
            return
        now = self.world.clock.now
        account = tried.server  # every host of it logs in as the same user
        recent = self.refused[account] = [t for t in self.refused[account] if now - t < 600] + [now]
        assert len(recent) <= REFUSED_IN_TEN_MINUTES, self._says(name, f"{account} refused at {recent}")

    def reached(self, living: Living) -> None:
        """A host was truly reached: where, and through what."""
        flow = living.connection.flow
        name = living.host
        self.wished_down.discard(name)
        self.reached_at[name].add(self._here(flow))
        # What it sends may leave through another interface by now, and the answer came all the same.
        way = self.world.net.way(self.world.roles[name].peer)
        if way is not None and way.segment != TUN:
            self.reached_at[name].add(self._here(way))
        if flow.tunnel is None:
            self.needs_tunnel.discard(name)
        elif flow.peer == INTERNAL:
            self.needs_tunnel.add(name)

    def _here(self, flow: Flow) -> str:
        return self.world.net.place(flow)

    def _may_be_tried(self, name: str, what: str) -> None:
        world, role = self.world, self.world.roles[name]
        if not world.state.hosts[name].by_user:
            assert world.net.online(), self._says(name, f"{what} without a network")
            flow = world.net.way(role.peer)
            through_tunnel = flow is not None and flow.segment == TUN
            if role.wish is not None and role.wish.vpn is not None:
                assert through_tunnel, self._says(name, f"{what} while its VPN is down")
            elif name in self.needs_tunnel and not through_tunnel:
                self._may_be_tried_without_vpn(name, what, flow)
            # A stranger's options are unknown: its own connection may be asked, its address not knocked at.
            loose = role.strict == "no" and (role.alias or what == "attempt")
            if loose and role.peer in {HOME_ONLY, INTERNAL} and flow is not None:
                place = self._here(flow)
                assert place in self.reached_at[name], self._says(
                    name, f"{what} at {place}, never reached there"
                )

    # 3. What is well comes up; what was ended stays down.

    def _may_be_tried_without_vpn(self, name: str, what: str, flow: Flow | None) -> None:
        """Nothing described that VPN: a login whose host key is checked may fail once at each place."""
        careful = what == "attempt" and self.world.roles[name].strict != "no" and flow is not None
        assert careful, self._says(name, f"{what} without the VPN that it was reached through")
        place = self._here(flow) if flow is not None else ""
        again = (name, place) in self.failed_without_vpn
        assert not again, self._says(name, f"a second {what} without its VPN at {place}")

    def left(self, living: Living, *, by_request: bool) -> None:
        """The user ended a master: a wish, where nothing of the network could have been the reason."""
        role = self.world.roles[living.host]
        always = role.wish is not None and role.wish.connect == "always"
        host = self.world.state.hosts.get(living.host)
        doubt = host is None or self.world.state.doubtful(host, self.world.clock.now)
        if not doubt and (by_request or not always):
            self.wished_down.add(living.host)

    def at_rest(self) -> None:
        """Check what must hold once the world has been well and quiet for long enough."""
        world = self.world
        for name, role in world.roles.items():
            host = world.state.hosts.get(name)
            listening = world.listening(name)
            if host is None:
                continue
            if world.state.paused(host, world.clock.now):
                continue
            if host.retry.kind == "host-key-unknown" and role.strict == "no" and host.master is not None:
                assert host.master.host_key is None, self._says(name, "its host key was recorded")
                assert world.shown(name) == "needs-sign-in", self._says(name, "waits without a reason")
                continue
            if host.suspect and host.master is not None and role.alias:
                raise AssertionError(self._says(name, "still in doubt"))
            if host.master is not None and host.master.ours and listening is not None:
                assert listening.connection.carries, self._says(name, "a stale master is still there")
            always = role.wish is not None and role.wish.connect == "always" and not role.wish.interactive
            if always and not host.held and self._allowed_in_the_end(name):
                assert listening is not None, self._says(name, f"not connected: {host.problem} {host.retry}")
                assert world.shown(name) == "connected", self._says(name, f"shown as {world.shown(name)}")
        self._one_each()

    def _allowed_in_the_end(self, name: str) -> bool:
        role = self.world.roles[name]
        flow = self.world.net.way(role.peer)
        if role.strict == "no" and role.peer in {HOME_ONLY, INTERNAL}:
            return flow is not None and self._here(flow) in self.reached_at[name]
        return True

    # 4. One each, and hands off what is paused.

    def _one_each(self) -> None:
        ours = [x.host for x in self.world.living.values() if x.master.ours]
        for name in set(ours):
            assert ours.count(name) == 1, self._says(name, f"{ours.count(name)} masters of ours")

    def _hands_off(self, name: str, what: str) -> None:
        world = self.world
        paused = world.paused_by_user(name)
        assert not paused or world.state.hosts[name].by_user, self._says(name, f"{what} although paused")

    # What happens around.

    def restarted(self) -> None:
        """Another agent: attempts of the one before are over."""
        self.tried.clear()
        self.failed_without_vpn.clear()

    def _says(self, name: str, what: str) -> str:
        return f"t={self.world.clock.now:.3f} {name}: {what}\n{self.world.told()}"
