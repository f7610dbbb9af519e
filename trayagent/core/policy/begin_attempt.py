"""Begins an attempt if no limit forbids it, and gives an attempt up politely; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Dial, DialBare, Discard, Remember, Resolve, TakeOver
from trayagent.core.facts.attempt import Attempt, Purpose
from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.host_table import unread
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Network, Origin
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import CARRIER_BACK_S
from trayagent.core.policy.admission import Admission, admission, through_tunnel
from trayagent.core.policy.ask_standby import given_back, until_answer
from trayagent.core.policy.begin_roaming import attach_early
from trayagent.core.policy.better_route import routes_out
from trayagent.core.policy.logins.account_lockout import at_risk, is_carried, let_in_lately, refused_alike
from trayagent.core.policy.logins.cut_logins import abort
from trayagent.core.policy.logins.login_limits_per_server import (
    End,
    dropped,
    ended,
    may_abort,
    started,
    visit_of,
)
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.login_waits import origin_of, turn_of
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import server_saw
from trayagent.core.policy.mptcp import mptcp_try
from trayagent.core.policy.resolve_again import outdated
from trayagent.core.policy.staleness.host_key_match import banner_suffices
from trayagent.core.policy.staleness.other_address import address_to_try, no_way_to_old_address
from trayagent.core.policy.wanted_connection import needs_bare_control, wanted
from trayagent.core.problem_texts import held_back
from trayagent.core.usable_routes import is_private


def start(
    context: Context, host: Host, admitted: Admission, purpose: Purpose, row: int, evidence: Evidence
) -> float | None:
    """Start an attempt, unless it must wait for something. Return when to continue, None if no time is known."""
    if host.attempt is not None:  # an unwanted attempt may still finish
        return None
    answer_at = until_answer(context, host, purpose)
    if answer_at is not None:
        context.because(host.name, row, "wait", evidence.plus(standby="asked"))
        return answer_at
    return _start(context, context.get(host.name) or host, admitted, purpose, row, evidence)


def _start(
    context: Context, host: Host, admitted: Admission, purpose: Purpose, row: int, evidence: Evidence
) -> float | None:
    now = context.now
    with unread(context.hosts):  # `turn_of` notes it, too
        alike = refused_alike(host, context.hosts, now) if purpose != "user" else None
    if alike is not None and not (host.master is not None and needs_bare_control(host)):
        hold(context, host, alike)
        return None
    wait = turn_of(host, context.state, admitted, now, by_user=purpose == "user")
    if wait is not None:
        context.because(host.name, row, "wait", evidence + wait.evidence)
        return wait.at
    bare = purpose != "user" and host.master is not None and needs_bare_control(host)
    if not bare and host.resolved is None:
        return None  # `ssh -G` has no result yet
    if not bare and login_needs_user(host) and (other := _host_at_prompt(context, host)) is not None:
        context.because(host.name, row, "wait", evidence.plus(login_at_prompt=other))
        return None
    if not bare and outdated(host, context.state):
        context.do(Resolve(host.name, lookups=True))
        return None
    number = begin(context, host, admitted, Attempt(context.state.next_attempt, purpose, now, bare=bare)).id
    if bare and host.master is not None and host.master.peer is not None:
        peer, port = host.master.peer, host.master.peer_port
        context.do(DialBare(host.name, number, peer, port, banner=banner_suffices(host)))
    else:
        background = host.wish.connect != "always"
        address = address_to_try(host) if purpose == "control" else None
        if purpose == "machine" and host.roaming is not None:
            address = host.roaming.address
        mptcp = mptcp_try(host, context.state.snapshot, now) if context.state.mptcp else None
        context.do(Dial(host.name, number, purpose, background, address, mptcp))
        context.publish("connecting", host.name, evidence, purpose=purpose)
        if address is not None:
            evidence = evidence.plus(address=address)
    done = "bare-control" if bare else "dial"
    context.because(host.name, row, done, evidence.plus(purpose=purpose, attempt=number))
    return None


def request_resolve(context: Context, name: str) -> None:
    """Run `ssh -G` for a host. Allow it to query DNS only if the host may be connected here."""
    host = context.get(name)
    if host is not None:
        context.do(Resolve(name, lookups=admission(host, context.state, by_user=host.by_user).open))


def hold(context: Context, host: Host, alike: Host) -> None:
    """Hold back a host's login, because the same login was refused for the host `alike`."""
    code = alike.problem.code if alike.problem is not None else "auth-denied"
    held = replace(alike.retry, count=host.retry.count, rearmed=host.retry.rearmed)
    context.put(
        host, retry=held, problem=held_back(host, alike, code), user=replace(host.user, reconnect=False)
    )
    context.do(Remember(host.name))
    context.because(host.name, 0, "held-back", Evidence.of(refused=alike.name, kind=alike.retry.kind))


def begin(context: Context, host: Host, admitted: Admission, attempt: Attempt) -> Attempt:
    """Give the host this attempt over the admitted route, count it at the server, and return it."""
    network, source = (
        (admitted.route.network, admitted.route.source) if admitted.route is not None else (None, None)
    )
    carried = is_carried(host, context.state.hosts)
    routes = routes_out(host, context.state.snapshot)
    origin = origin_of(host, context.state, admitted)
    attempt = replace(
        attempt,
        network=network,
        source=source,
        routes=routes,
        carried=carried,
        trusted=_trusted(context, host, origin),
    )
    servers = started(context.state.servers, host.server, attempt.id, origin, context.now)
    context.change(next_attempt=context.state.next_attempt + 1, servers=servers)
    context.put(host, attempt=attempt, user=replace(host.user, reconnect=False))
    return attempt


def _trusted(context: Context, host: Host, origin: Origin) -> bool:
    """Report whether all logins of the host's next connection just succeeded from this network."""
    lately = let_in_lately(context.state.let_in, origin, context.now)
    return bool(lately) and all(
        any(login.same(other) for other in lately) for login in at_risk(host, context.state.hosts)
    )


def _host_at_prompt(context: Context, host: Host) -> str | None:
    """Return the host whose login waits for the user, or None. Two prompts at once would confuse the user."""
    for other in context.state.hosts.values():
        attempt = other.attempt
        if attempt is None or other is host or not login_needs_user(other):
            continue
        if not attempt.bare and not attempt.at_terminal and attempt.positive_at is None:
            return other.name
    return None


def control_possible(host: Host, admitted: Admission) -> bool:
    """Report whether a control of this host's living master can be made from here at all.

    Row 11: a bare control cannot pass a ProxyCommand. The agent sends a bare control to a private address only on
    networks where it reached the host before.
    """
    if not needs_bare_control(host):
        # Without a result of `ssh -G`, no control is possible yet.
        return host.resolved is not None and not no_way_to_old_address(host)
    master = host.master
    if master is None or master.peer is None or not (master.direct or _first_hop_suffices(host)):
        return False
    return not is_private(master.peer) or host.reached.at(
        admitted.route.network if admitted.route is not None else None
    )


def _first_hop_suffices(host: Host) -> bool:
    """Report whether the banner of the first hop is enough as a control. It is if the local address is gone.

    The first hop is the jump host, or the machine to which the ProxyCommand of an ssh beside a master connected. If
    that is a proxy, it sends no banner, so the control fails.

    If the local address is present, the silent machine may be the one behind the first hop, which no bare control
    reaches.
    """
    jumped = host.resolved is not None and host.resolved.proxy_jump is not None
    beside = host.draining is not None and host.draining.beside is not None
    gone = host.doubt.gone_at is not None and host.master is not None and host.master.carrier is None
    return gone and (jumped or beside)


def holds(context: Context, host: Host, attempt: Attempt, admitted: Admission) -> bool:
    """Report whether the connection that an attempt is making may still succeed from here."""
    if _superseded(context, host, attempt, admitted):
        return False
    if attempt.source is None or admitted.route is None:
        return True
    if attempt.established_at is not None and _in_twin(attempt, admitted.route.network):
        return False
    if attempt.source == admitted.route.source:
        return True
    return context.state.snapshot.has_address(attempt.source)


def _in_twin(attempt: Attempt, here: Network) -> bool:
    """Report whether the attempt began in another network, on the same interface and perhaps from the same address."""
    began = attempt.network
    return began is not None and began.egress == here.egress and here.differs(began)


def _superseded(context: Context, host: Host, attempt: Attempt, admitted: Admission) -> bool:
    """Report whether the host's VPN came up while a login without the VPN was in progress."""
    if host.reached.learned_vpn is None or admitted.route is None or attempt.network is None:
        return False
    return (
        through_tunnel(admitted.route, context.state) and attempt.network.egress != admitted.route.interface
    )


def waits_for_carrier(context: Context, host: Host, admitted: Admission) -> float | None:
    """Return until when the host's attempt waits for a route that is gone. Return None if the attempt must end now.

    A connection survives a short loss of carrier, because its address stays. If the server has seen the connection,
    cutting it short would use up the server's budget. In a flapping network, the next login would then wait 30 s.
    """
    attempt, since = host.attempt, host.outage.offline_since
    if attempt is None or attempt.is_banner_check or attempt.established_at is None or attempt.source is None:
        return None
    if admitted.code != "unreachable" or attempt.ready is not None or attempt.refused is not None:
        return None
    if since is None or context.now >= since + CARRIER_BACK_S:
        return None
    return since + CARRIER_BACK_S if context.state.snapshot.has_address(attempt.source) else None


def give_up_attempt(context: Context, host: Host) -> Host:
    """End a host's attempt politely. If the server may penalize one more cut handshake, let the attempt finish."""
    attempt = host.attempt
    if attempt is None or attempt.taking_over or attempt.unwanted or attempt.at_prompt:
        return host
    if attempt.standby:
        return context.put(host, attempt=None, standby=given_back(host.standby, attempt))
    if attempt.ready is not None:
        context.do(Discard(host.name, attempt.ready))
    elif attempt.refused is None and attempt.positive_at is None:
        # If the attempt's own address is gone, the server cannot notice the end of the attempt.
        cut = attempt.source is not None and not context.state.snapshot.has_address(attempt.source)
        names = names_of(host.server, context.state.hosts)
        if not cut and not may_abort(context.state.servers, attempt.id, context.now, names):
            return context.put(host, attempt=replace(attempt, unwanted=True))
        return abort(context, host, attempt)
    return context.put(host, attempt=None)


def count_failure(context: Context, host: Host | None, number: int, failure: Failure, jitter: float) -> None:
    """Count a failed attempt against its server's budget. An attempt that no server saw costs nothing.

    After a timeout, the server may still keep the connection. Behind a jump host that does not count, because the
    target is silent, not the jump host.
    """
    found = visit_of(context.state.servers, number)
    if found is None:
        return
    key, visit = found
    seen = server_saw(failure, established=visit.seen)
    hung = seen and failure.kind == "timed-out" and host is not None and not _through_others(host)
    end: End = "hung" if hung else "failed" if seen else "unseen"
    servers = ended(context.state.servers, number, context.now, end)
    if failure.kind == "dropped":
        names = names_of(key, context.state.hosts)
        servers = dropped(servers, key, visit.origin, context.now, jitter, names)
    context.change(servers=servers)


def _through_others(host: Host) -> bool:
    """Report whether a connection to the host goes through a jump host or a ProxyCommand."""
    resolved = host.resolved
    return resolved is not None and bool(resolved.proxy_jump or resolved.proxy_command)


def put_in_place(
    context: Context, host: Host, control: Attempt, row: int, evidence: Evidence, *, drain: bool = False
) -> float | None:
    """Move the attempt's new master to the control path. If there is an old master, kill it or let it drain."""
    old, new = host.master, control.ready
    if new is None:
        return None
    context.because(host.name, row, "replace" if old is not None else "put in place", evidence)
    if old is not None and row:
        context.publish("master-stale", host.name, evidence, row=row, pid=old.pid)
    host = attach_early(context, host, new)  # before the socket is renamed
    context.do(TakeOver(host.name, control.id, new, old, drain))
    killing = host.killing | ({old.pid} if old is not None and not drain else frozenset())
    replaces = old.pid if old is not None else None
    context.put(host, attempt=replace(control, taking_over=True, replaces=replaces), killing=killing)
    return None


def publish_given_up(context: Context, host: Host, by_user: str) -> None:
    """Report that the user no longer wants a host that is away. For a host that was idle, report nothing."""
    if host.master is None and (wanted(host) or host.lost):
        context.publish("disconnected", host.name, Evidence.of(user=by_user))


def publish_failure(context: Context, host: Host, problem: Problem, *, there: bool = False) -> None:
    """Report a failed attempt. `there`: the user is at the terminal, so they need not be notified."""
    retry_in_s = None if host.retry.at is None else round(host.retry.at - context.now, 3)
    publish_connect_failed(context, host, problem, retry_in_s=retry_in_s)
    if problem.code in {"auth-denied", "passphrase-needed"} and retry_in_s is None and not there:
        context.publish("sign-in-needed", host.name, reason=problem.title)


def publish_connect_failed(context: Context, host: Host, problem: Problem, **details: object) -> None:
    """Report a failed attempt, and whether the host is missed. The history begins an outage only if it is missed."""
    missed = None if _missed(host) else False
    context.publish(
        "connect-failed",
        host.name,
        NO_EVIDENCE,
        reason=problem.title,
        code=problem.code,
        missed=missed,
        **details,
    )


def _missed(host: Host) -> bool:
    """Report whether the host is or may be away, and would be wanted even without the failed request."""
    if host.master is not None:
        return host.suspect
    return wanted(replace(host, user=replace(host.user, reconnect=False), attempt=None))
