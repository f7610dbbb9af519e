"""Checks the limits of servers and accounts: refused logins, unfinished handshakes and attempts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.cast import first_hop
from tests.sim.handshake import Leg, Outcome
from tests.sim.net import Flow

if TYPE_CHECKING:
    from tests.sim.world import World

REFUSED_IN_TEN_MINUTES = 2
LET_IN_LATELY_S = 60.0
FAILED_PER_MINUTE = 6  # or one for each host of the server, if that is more
UNFINISHED_IN_HALF_A_MINUTE = 5  # or two for each host, if that is more
AT_ONCE = 6
CHECK_AFTER_S = 10.0  # between two checks of one server, for all its hosts together
CHECKS_IN_FIVE_MINUTES = 24  # one every 15 s, or every 10 s during pauses of about 40 s


@dataclass
class Tried:
    """One attempt, as it truly happened."""

    host: str
    server: str  # the machine of the first hop, independent of its name
    began: float
    by_user: bool
    flow: Flow | None
    outcome: Outcome = field(default_factory=Outcome)
    place: str | None = None
    bare: bool = False  # ends after the banner, or after the host key was compared with known_hosts
    check: bool = False  # ends after the server's banner
    over: bool = False
    failed_at: float | None = None

    @property
    def source(self) -> str | None:
        """The local address of the attempt."""
        return self.flow.local if self.flow is not None else None

    @property
    def network(self) -> str:
        """The network from which the servers saw the attempt."""
        return self.flow.segment if self.flow is not None else ""


@dataclass
class Logins:
    """Counts the true numbers that the agent's budgets must limit."""

    world: World
    tried: dict[int, Tried] = field(
        default_factory=dict
    )  # attempts of this agent by number; each agent counts from 1
    refused: dict[tuple[str, str, str], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )  # by server, account and network: the time of the refusal, and the login's start
    let_in: dict[tuple[str, str], list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    cut: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def over(self, number: int, outcome: Outcome) -> Tried:
        """Record the result of an attempt, and return the attempt."""
        tried = self.tried[number]
        tried.outcome, tried.over = outcome, True
        for leg, at in outcome.let_in:
            self.let_in[leg.machine, leg.user].append((at, tried.network))
        if outcome.kind is not None and outcome.met:
            tried.failed_at = self.world.clock.now
        if (
            outcome.kind in {"auth", "closed"}
            and outcome.at is not None
            and outcome.met
            and not tried.by_user
        ):
            self._refused(outcome.at, tried)
        return tried

    def by_user(self, name: str, number: int) -> None:
        """Record that the user began a login at a terminal."""
        first = first_hop(self.world.role_of(name))
        flow = self.world.net.way(first.peer)
        self.tried[number] = Tried(name, first.machine, self.world.clock.now, by_user=True, flow=flow)

    def aborted(self, number: int) -> None:
        """Record that the agent ended an attempt early."""
        if number in self.tried:
            self.tried[number].over = True

    def _refused(self, leg: Leg, tried: Tried) -> None:
        """Check the number of refused logins since the account last accepted one, under all names of its server.

        After a successful login, the agent may start many logins from the same network together. Of these, only the
        first refused one counts, because the others began before the refusal was known.
        """
        now, let_in = self.world.clock.now, self.let_in[leg.machine, leg.user]
        since = max((at for at, _ in let_in), default=-1e9)
        account = (leg.machine, leg.user, tried.network)
        recent = [(at, began) for at, began in self.refused[account] if at > since and now - at < 600]
        recent = self.refused[account] = [*recent, (now, tried.began)]
        lately = [at for at, network in let_in if network == tried.network]
        first = recent[0][0]
        counted = recent[:1] + [
            (at, began)
            for at, began in recent[1:]
            if began >= first or not any(0 <= began - ok <= LET_IN_LATELY_S for ok in lately)
        ]
        what = f"{leg.user} refused at {leg.machine} from {tried.network}: {counted}, last let in at {since}"
        assert len(counted) <= REFUSED_IN_TEN_MINUTES, self.world.rules.says(tried.host, what)

    def unfinished(self, number: int, leg: Leg) -> None:
        """Count and check unfinished handshakes at a server."""
        tried = self.tried.get(number)
        if tried is None or tried.by_user or leg.machine != tried.server:
            return  # behind a jump host, only the jump host's own count applies
        now, place = self.world.clock.now, (leg.machine, tried.network)
        recent = self.cut[place] = [t for t in self.cut[place] if now - t < 30] + [now]
        what = f"{len(recent)} unfinished handshakes on {leg.machine}: {recent}"
        most = max(UNFINISHED_IN_HALF_A_MINUTE, 2 * self._hosts(leg.machine))
        assert len(recent) <= most, self.world.rules.says(tried.host, what)

    def not_too_often(self, name: str, tried: Tried) -> None:
        """Check the number of attempts that a server has seen, without those that the user requested."""
        now, server = self.world.clock.now, tried.server
        ours = [t for t in self.tried.values() if t.server == server and not t.by_user]
        running = sum(not t.over for t in ours)
        assert running <= AT_ONCE, self.world.rules.says(name, f"{running} attempts at once on {server}")
        if tried.check:
            checks = sorted(now - t.began for t in ours if t.check and t is not tried and now - t.began < 300)
            soon = checks and checks[0] < CHECK_AFTER_S - 0.001
            assert not soon, self.world.rules.says(name, f"checked again after {checks[:1]} s")
            assert len(checks) < CHECKS_IN_FIVE_MINUTES, self.world.rules.says(
                name, f"checked {len(checks)} times"
            )
            return
        failed = [
            t.failed_at
            for t in ours
            if t.network == tried.network
            and not t.check
            and t.failed_at is not None
            and now - t.failed_at < 60
        ]
        what = f"{len(failed)} failures on {server} in a minute: {failed}"
        assert len(failed) <= max(FAILED_PER_MINUTE, self._hosts(server)), self.world.rules.says(name, what)

    def _hosts(self, server: str) -> int:
        """Return the number of hosts whose first hop is this server, under any name."""
        return sum(first_hop(role).machine == server for role in self.world.roles.values())
