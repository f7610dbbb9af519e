"""Decides what a login must wait for although a route exists and its back-off is over; pure."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Literal

from msgspec import Struct

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.host_table import HostTable, Reads, once, read_everything, unread
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Origin
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import LOGINS_PER_WINDOW, LOGINS_WINDOW_S, SETTLED_MAX_S, SETTLED_S
from trayagent.core.find_jump_host import last_jump
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.logins.account_lockout import (
    account_free_at,
    let_in_lately,
    login_facts,
    may_log_in_beside,
    next_refusal_forgotten_at,
    refused_hosts,
    refusing_host,
    unread_login_at,
)
from trayagent.core.policy.logins.cut_short import next_login_at
from trayagent.core.policy.logins.login_limits_per_server import at_once, free_at
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import CREDENTIAL_KINDS
from trayagent.core.policy.wanted_connection import needs_bare_control, wanted
from trayagent.core.usable_routes import network_from, usable_route


class Wait(Struct, frozen=True):
    """Why a login must wait, and until when; `at` None: until an event.

    "jump": the jump host `jump` must be up first. "account": another login to the account must end first. "refused":
    the account refused two logins, or that of the host `other`, which may be the same account. "server": the server's
    limits are reached. "unsettled": an earlier login may have been refused unread, and the network still changes. "cut
    short": the last connection ended right after its login. "logins": the host had too many
    logins. "control": no control can be made from here. "stopped": a process of the old connection is suspended.
    """

    why: Literal[
        "jump", "account", "refused", "server", "unsettled", "cut short", "logins", "control", "stopped"
    ]
    evidence: Evidence
    at: float | None = None
    jump: str = ""
    other: str = ""


def before_login(
    host: Host, state: State, admitted: Admission, now: float, *, by_user: bool = False
) -> Wait | None:
    """Return what the next login of this host must wait for, or None if the login may begin."""
    jump = _jump_in_doubt(host, state, now, by_user=by_user)
    if jump is not None:
        at = jump.retry.at if jump.retry.waits(now) and jump.attempt is None else None
        return Wait("jump", Evidence.of(jump=jump.name), at, jump=jump.name)
    lately = let_in_lately(state.let_in, origin_of(host, state, admitted), now) if state.let_in else ()
    if by_user:  # wait only for logins to the same account: if one is refused, the rest are held back
        beside = may_log_in_beside(host, state.hosts, lately)
        return None if beside else Wait("account", Evidence.of(server=host.server, account="busy"))
    bare = host.master is not None and needs_bare_control(host)
    account_at = now if bare else account_free_at(host, state.accountable, now, lately)
    if account_at is None:
        return Wait("account", Evidence.of(server=host.server, account="busy"))
    if account_at > now:
        other = refusing_host(host, state.accountable, now)
        evidence = Evidence.of(server=host.server, account="refused")
        return Wait("refused", evidence.plus(by=other) if other else evidence, account_at, other=other or "")
    at = now if bare else _settled_at(host, state, now)
    if at > now:
        return Wait("unsettled", Evidence.of(network="changing"), at)
    at = server_free_at(host, state, admitted, now)
    if at is None or at > now:
        evidence = Evidence.of(server=host.server, busy="yes")
        most = at_once(state.servers, host.server, names_of(host.server, state.hosts)) if at is None else None
        return Wait("server", evidence.plus(at_once=most) if most is not None else evidence, at)
    if host.login.cut_short is not None:
        at = next_login_at(host.login.cut_short, origin_of(host, state, admitted))
        if at > now:
            return Wait("cut short", Evidence.of(cut_short=host.login.cut_short.count), at)
    at = _logins_at(host, now)
    if at > now:
        return Wait("logins", Evidence.of(logins=LOGINS_PER_WINDOW, in_s=f"{LOGINS_WINDOW_S:.0f}"), at)
    return None


def _settled_at(host: Host, state: State, now: float) -> float:
    """Return when the network is stable enough to log in although the account may have refused an unread login.

    A change of network may cut the next login short, too. As nobody reads its answer then, it would count as a second
    refusal, and the account would have to wait for minutes.
    """
    unread = unread_login_at(host, state.accountable, now)
    return now if unread is None else min(state.network_at + SETTLED_S, unread + SETTLED_MAX_S)


class _Turn(Struct, frozen=True):
    """The read of everything on which a login's turn depends, as long as it must wait.

    All conditions must be met before the login may begin. So while the one that was not met is still not met, the
    others do not matter.
    """

    host: Host
    admitted: Admission
    by_user: bool
    wait: Wait
    refused: tuple[Host, ...]
    accounts: tuple[object, ...]

    def holds(self, state: State, now: float) -> bool:
        """Report whether the login still waits for the same thing."""
        wait = self.wait
        if not self._refused_as_before(state):
            return (
                False  # the login may be held back now, because the same login was refused for another host
            )
        if wait.why in {"cut short", "logins"}:
            return True
        if wait.why in {"account", "refused"} and all(map(is_, self.accounts, _accounts(self.host, state))):
            return True
        return before_login(self.host, state, self.admitted, now, by_user=self.by_user) == wait

    def _refused_as_before(self, state: State) -> bool:
        refused = refused_hosts(state.hosts)
        if refused and self.host.resolved is not None and self.host.resolved.jumps:
            return False
        return len(refused) == len(self.refused) and all(state.hosts[h.name] is h for h in self.refused)


class _TurnAtServer:
    """The same for all logins that wait for one server from one network, while no login of any host is refused.

    They share one object, so that an event costs little for each of them, however many wait.
    """

    __slots__ = ("_admitted", "_at", "_host")

    def __init__(self, host: Host, admitted: Admission, at: float | None) -> None:
        self._host, self._admitted, self._at = host, admitted, at

    def holds(self, state: State, now: float) -> bool:
        """Report whether these logins still wait for the server."""
        answers = state.hosts.answers if isinstance(state.hosts, HostTable) else {}
        if self not in answers:
            free = server_free_at(self._host, state, self._admitted, now) == self._at
            answers[self] = free and not refused_hosts(state.hosts)
        still: bool = answers[self]
        return still


def turn_of(
    host: Host, state: State, admitted: Admission, now: float, *, by_user: bool = False
) -> Wait | None:
    """Return the same as `before_login`. While the login waits for its turn, most events need no new decision."""
    with unread(state.hosts) as reads:
        wait = before_login(host, state, admitted, now, by_user=by_user)
        if reads is not None:
            _note_turn(reads, host, state, admitted, now, wait, by_user=by_user)
    return wait


def _note_turn(
    reads: Reads,
    host: Host,
    state: State,
    admitted: Admission,
    now: float,
    wait: Wait | None,
    *,
    by_user: bool,
) -> None:
    if wait is None:
        reads.everything = True
        return
    refused = tuple(state.hosts[name] for name in refused_hosts(state.hosts))
    if wait.why == "server" and not refused and isinstance(state.hosts, HostTable):
        alike = host.server, bool(host.addresses), admitted.route, host.retry.allowed, wait.at
        turn = state.hosts.shared_read(alike, lambda: _TurnAtServer(host, admitted, wait.at))
        reads.values.append(turn)
        return
    reads.values.append(_Turn(host, admitted, by_user, wait, refused, _accounts(host, state)))
    if wait.why == "account":
        reads.until = min(reads.until, next_refusal_forgotten_at(state.accountable, now))


def _accounts(host: Host, state: State) -> tuple[object, ...]:
    """Return the facts about logins to accounts. The objects are the same ones while the facts are the same."""
    return (*login_facts(state.accountable), state.let_in, last_jump(state.hosts, host))


def would_be_refused(host: Host) -> bool:
    """Report whether a login without the user would fail as the last one did."""
    refused = host.retry.stopped and host.retry.kind in CREDENTIAL_KINDS
    return refused or host.login.kind in {"typed", "unlocked"}


def may_be_scripted(host: Host, state: State, now: float) -> bool:
    """Report whether a script may request a login: not if it would repeat a refusal or end a suspended master."""
    suspended = host.suspect and host.doubt.observed is not None and host.doubt.observed.stopped
    free_at = account_free_at(host, state.accountable, now)
    return not would_be_refused(host) and not suspended and (free_at is None or free_at <= now)


def origin_of(host: Host, state: State, admitted: Admission) -> Origin:
    """Return the network and address from which the host's next connection reaches its server.

    All hosts of one server must get the same result. A host that was never reached has no known address. So it uses the
    route to the address of another host of that server, which may lead into a VPN. If no address is known, an earlier
    attempt that was established through a tunnel shows the route, as long as the tunnel is up.
    """
    route = admitted.route
    if not host.addresses:
        sharing = (other for other in state.hosts.values() if other.server == host.server)
        known = next((other for other in sharing if other.addresses), None)
        if known is None and (tunnel := _tunnel_of_earlier_attempt(host, state)) is not None:
            return tunnel
        route = (usable_route(known, state.snapshot) if known is not None else None) or route
    return Origin(route.network, route.source) if route is not None else Origin()


def _tunnel_of_earlier_attempt(host: Host, state: State) -> Origin | None:
    """Return the tunnel through which the last attempts reached the host's server, or None if it is not up any more."""
    server = state.servers.get(host.server)
    for budget in reversed(server.budgets if server is not None else ()):
        origin = budget.origin
        if origin.network is None or origin.source is None or "/" not in origin.network.gateway:
            continue
        here = network_from(state.snapshot, origin.source)
        if here is not None and here.egress == origin.network.egress:
            return origin
    return None


def server_free_at(host: Host, state: State, admitted: Admission, now: float) -> float | None:
    """Return when the host's server may be contacted from here; None if another attempt must end first."""
    read_everything(state.hosts)
    if host.server not in state.servers and not state.servers:
        return now
    names = names_of(host.server, state.hosts)
    sharing = once(state.hosts, _sharing, names, of=("draining", "hop", "master"))
    return free_at(
        state.servers,
        host.server,
        origin_of(host, state, admitted),
        now,
        sharing,
        others=names,
        answers=host.retry.allowed,
    )


def _reached(hosts: Mapping[str, Host], server: str) -> str | None:
    """Return the name of a host with this server whose address is known."""
    return next((host.name for host in hosts.values() if host.addresses and host.server == server), None)


def _sharing(hosts: Mapping[str, Host], names: frozenset[str]) -> int:
    """Return how many hosts have a server with one of these names."""
    return sum(other.server in names for other in hosts.values() if other.draining is None)


def _logins_at(host: Host, now: float) -> float:
    recent = [at for at in host.login.times if now - at < LOGINS_WINDOW_S]
    return now if len(recent) < LOGINS_PER_WINDOW else recent[-LOGINS_PER_WINDOW] + LOGINS_WINDOW_S


def _jump_in_doubt(host: Host, state: State, now: float, *, by_user: bool) -> Host | None:
    """Return the jump host that must be judged or connected first, or None.

    While the jump host is away, the login of each host behind it would fail. A request of the user does not wait for a
    jump host that will not connect automatically.
    """
    other = last_jump(state.hosts, host)
    if other is None or state.paused(other, now) or other.wish.connect == "never":
        return None
    probed = other.master is not None and other.doubt.probe is not None
    if other.suspect or probed or (other.attempt is not None and not other.attempt.unwanted):
        return other
    if other.master is not None or other.resolved is None or not wanted(other):
        return None
    untried = other.retry.kind is None and not login_needs_user(other)
    return other if admission(other, state).open and (untried or not by_user) else None
