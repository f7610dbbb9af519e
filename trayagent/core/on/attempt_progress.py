"""Handles the progress of an attempt: established, ready, failed, given up, or taken over; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Discard, Kill, Remember
from trayagent.core.facts.attempt import Attempt, Retry
from trayagent.core.facts.events import (
    AttemptEstablished,
    AttemptFailed,
    AttemptReady,
    ObstacleGone,
    TakeOverFailed,
    TookOver,
)
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import NETWORKS_KEPT, Host, LoginKind
from trayagent.core.facts.network import Origin
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import LOGINS_WINDOW_S, NEVER
from trayagent.core.facts.user_events import LoginGivenUp
from trayagent.core.on import draining_progress
from trayagent.core.on.adopt_master import install
from trayagent.core.on.master_events import forget_if_done
from trayagent.core.on.roaming_progress import end_sessions
from trayagent.core.policy.admission import strict
from trayagent.core.policy.begin_attempt import count_failure, hold, publish_connect_failed, publish_failure
from trayagent.core.policy.key_trials import answered_by
from trayagent.core.policy.logins.account_lockout import at_risk, refused_login
from trayagent.core.policy.logins.account_success import let_in
from trayagent.core.policy.logins.banner_check_in_backoff import answered
from trayagent.core.policy.logins.login_limits_per_server import End, ended, established, visit_of
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import (
    CREDENTIAL_KINDS,
    LOCAL_KINDS,
    REFUSED_KINDS,
    VANISHED_KINDS,
    may_be_refusal,
    with_failure,
    with_refusal_elsewhere,
)
from trayagent.core.policy.probe_again import probe_carriers
from trayagent.core.policy.staleness.host_key_match import (
    judged_failure,
    may_replace,
    no_control,
    proves,
    proves_bare,
)
from trayagent.core.policy.staleness.other_address import (
    after_failure,
    at_old_address,
    note,
    other_address_answered,
    reached_another,
)
from trayagent.core.policy.staleness.positive_control import is_timely
from trayagent.core.problem_texts import not_here, proxy_failed, user_needed
from trayagent.core.usable_routes import network_from


def attempt_established(context: Context, event: AttemptEstablished) -> None:
    """Row 3: note that an attempt's TCP connection is established. So the route works, and the server counts it."""
    servers = established(context.state.servers, event.attempt, _left_from(context, event))
    context.change(servers=servers)
    host, attempt = _find(context, event.name, event.attempt)
    if host is not None and attempt is not None:
        source = event.local or attempt.source
        at = attempt.established_at if attempt.established_at is not None else context.now
        attempt = replace(attempt, established_at=at, source=source)
        addresses = event.addresses or attempt.addresses
        context.put(host, attempt=replace(attempt, peer=event.peer or attempt.peer, addresses=addresses))


def _left_from(context: Context, event: AttemptEstablished) -> Origin | None:
    """Return the network and address from which a connection really left, or None if they are as expected.

    They may differ if the server's address was unknown before, and the route to that address leads into a VPN.
    """
    visit = visit_of(context.state.servers, event.attempt)
    if visit is None or event.local is None or event.local == visit[1].origin.source:
        return None
    network = network_from(context.state.snapshot, event.local)
    return Origin(network, event.local) if network is not None else None


def attempt_ready(context: Context, event: AttemptReady) -> None:
    """Note that the control is positive. Unless it was bare, a new master now waits on a temporary control path."""
    host, attempt = _find(context, event.name, event.attempt)
    checked = attempt is not None and attempt.is_banner_check  # a banner check proves no login
    end: End = "unseen" if checked else "through"
    visit = visit_of(context.state.servers, event.attempt)
    names = names_of(host.server, context.state.hosts) if host is not None else ()
    context.change(servers=ended(context.state.servers, event.attempt, context.now, end, names))
    if host is None or attempt is None:
        if event.master is not None:
            context.do(Discard(event.name, event.master))
        return
    if attempt.unwanted:
        if event.master is not None:
            context.do(Discard(host.name, event.master))
        context.put(host, attempt=None)
        return
    now = context.now
    peer = _peer_of(attempt, event)
    judges = host.master is not None and attempt.purpose not in {"user", "check"}
    if judges and not _counts(host, attempt, event):
        _no_control(context, host, attempt, event)
        return
    if judges and peer is not None and reached_another(host, attempt, peer):
        _at_another_address(context, host, attempt, event, peer)
        return
    since = attempt.established_at if attempt.established_at is not None else now
    attempt = replace(attempt, established_at=since, positive_at=now, ready=event.master)
    if attempt.is_banner_check and event.master is None:
        answered(context, host)
        return
    if event.master is None:
        context.put(host, attempt=attempt)
        return
    logins = (*(t for t in host.login.times if now - t < LOGINS_WINDOW_S), now)
    login, key = _login_of(host, attempt, event.login), event.host_key
    trusted = key is not None and (strict(host) or key == host.login.host_key)
    origin = visit[1].origin if visit is not None else Origin()
    host = context.put(
        host,
        attempt=attempt,
        login=replace(
            host.login, worked_at=now, kind=login, host_key=key, refusing_key=None, times=logins, helped=False
        ),
    )
    let_in(context, host, attempt, origin, trusted=trusted)


def _counts(host: Host, attempt: Attempt, event: AttemptReady) -> bool:
    """Report whether the machine that answered is the one that the attempt is for, as far as host keys show."""
    if attempt.bare:
        return proves_bare(host, event)
    if attempt.purpose == "machine" and host.roaming is not None:
        return (
            None in {event.host_key, host.roaming.inner.host_key}
            or event.host_key == host.roaming.inner.host_key
        )
    return may_replace(host, event.host_key)


def _peer_of(attempt: Attempt, event: AttemptReady) -> str | None:
    return (event.master.peer if event.master is not None else None) or attempt.peer


def _at_another_address(
    context: Context, host: Host, attempt: Attempt, event: AttemptReady, peer: str
) -> None:
    """End a login at another address than the silent master's. Keep the master, and try its own address next."""
    if event.master is not None:
        context.do(Discard(host.name, event.master))
    failure = other_address_answered(host)
    host = with_failure(note(host, attempt, peer, context.now), attempt, failure, context.now, 1.0)
    host = context.put(host, attempt=None, problem=failure.problem)
    evidence = Evidence.of(attempt=attempt.id, peer=peer, kind=failure.kind)
    context.because(host.name, 10, "failed", evidence.plus(retry=_retry_words(host.retry, context.now)))


def _no_control(context: Context, host: Host, attempt: Attempt, event: AttemptReady) -> None:
    """End a new connection, because it does not prove that the master's own server answered. Keep the master."""
    failure = no_control(host, event.host_key)
    if event.master is not None:
        context.do(Discard(host.name, event.master))
    host = with_failure(host, attempt, failure, context.now, 1.0)
    problem = host.problem if attempt.bare else _problem(host, attempt, failure)
    host = context.put(host, attempt=None, problem=problem)
    retry = host.bare_retry if attempt.bare else host.retry
    evidence = Evidence.of(attempt=attempt.id, host_key=event.host_key or "unproven", kind=failure.kind)
    context.because(host.name, 10, "failed", evidence.plus(retry=_retry_words(retry, context.now)))


def _login_of(host: Host, attempt: Attempt, reported: LoginKind) -> LoginKind:
    """Return how the login went.

    Our logs do not show what a jump host requested. If the agent's login was refused before, the user must have typed
    something.
    """
    carried = host.resolved is not None and (host.resolved.proxy_jump or host.resolved.proxy_command)
    refused = host.retry.stopped and host.retry.kind == "auth"
    return "typed" if reported == "quiet" and attempt.at_terminal and carried and refused else reported


def attempt_failed(context: Context, event: AttemptFailed) -> None:
    """Row 10: note a failed attempt. If the right server answered and refused the login, row 9 applies instead."""
    now, failure = context.now, event.failure
    host, attempt = _find(context, event.name, event.attempt)
    if host is not None and attempt is not None and attempt.is_banner_check:
        context.change(servers=ended(context.state.servers, event.attempt, now, "unseen"))
        context.put(host, attempt=None)
        context.because(host.name, 0, "banner-missing", Evidence.of(kind=failure.kind))
        return
    count_failure(context, host, event.attempt, failure, event.jitter)
    if host is None or attempt is None:
        return
    if failure.kind == "timed-out" and not attempt.bare:
        probe_carriers(context, host)
    host, failure = _judged(context, host, attempt, event)
    if _changes_nothing(host, attempt, failure):
        _forget_failed(context, host, attempt, failure)
        return
    control = failure.positive and _is_control(host, attempt, event)
    bypassed = _bypassed_vpn(context, host, attempt)
    if bypassed and attempt.network is not None:
        host = replace(
            host,
            reached=replace(
                host.reached,
                failed_without_vpn=(attempt.network, *host.reached.failed_without_vpn)[:NETWORKS_KEPT],
            ),
        )
    host = with_failure(host, attempt, failure, now, event.jitter, event.host_key)
    host = after_failure(host, attempt, now)
    host = _needs_user(host, failure)
    problem = _problem(host, attempt, failure)
    # Show that the VPN is down. Without the VPN the server cannot be reached anyway.
    expected = bypassed and failure.kind not in REFUSED_KINDS
    # Report no failure of an attempt that is no longer wanted, unless it was refused: then no automatic login follows.
    # Keep the reason why the attempt went to the old address, unless it stopped for a better one.
    silent = attempt.bare or ((attempt.unwanted or at_old_address(host, attempt)) and not host.retry.stopped)
    unchanged = host.problem if silent else None
    host = context.put(
        host,
        attempt=replace(attempt, positive_at=now, refused=problem) if control else None,
        problem=unchanged if silent or expected else problem,
        login=replace(
            host.login, vanished_at=now if failure.kind in VANISHED_KINDS else host.login.vanished_at
        ),
    )
    if failure.kind in REFUSED_KINDS:
        _hold_requested(context, host)
    if may_be_refusal(failure):
        context.do(Remember(host.name))  # an agent that starts later must not repeat the login either
    row = 10 if host.master is not None and not control else 0
    evidence = Evidence.of(attempt=attempt.id, kind=failure.kind, positive=failure.positive)
    context.because(host.name, row, "failed", evidence.plus(retry=_retry_words(host.retry, now)))
    # While the old master is kept, nothing failed for the user.
    if not attempt.bare and (host.master is None or attempt.purpose == "user"):
        publish_failure(context, host, problem, there=attempt.at_terminal)
    if attempt.at_terminal:
        forget_if_done(context, host.name)


def _is_control(host: Host, attempt: Attempt, event: AttemptFailed) -> bool:
    """Report whether the machine that refused the login is the server of the master in doubt."""
    if not host.suspect or not is_timely(attempt, host) or not proves(host, event.host_key):
        return False
    return not reached_another(host, attempt, attempt.peer)


def _changes_nothing(host: Host, attempt: Attempt, failure: Failure) -> bool:
    """Report whether a failure leaves the host as it was: no login was refused, and nothing else depends on it."""
    if attempt.at_terminal:
        return failure.kind not in CREDENTIAL_KINDS
    return attempt.purpose == "machine" and host.master is not None and not may_be_refusal(failure)


def _forget_failed(context: Context, host: Host, attempt: Attempt, failure: Failure) -> None:
    if attempt.at_terminal:
        publish_connect_failed(context, _as_before(context, host), failure.problem)
        return
    context.because(host.name, 0, "failed", Evidence.of(attempt=attempt.id, kind=failure.kind))
    context.put(host, attempt=None)


def _judged(context: Context, host: Host, attempt: Attempt, event: AttemptFailed) -> tuple[Host, Failure]:
    """Return the host, and the failure as it counts for the host.

    A refusal by another machine counts only for the host's account on that machine.
    """
    failure = judged_failure(host, attempt, event.failure, event.host_key)
    if at_old_address(host, attempt) and failure.kind in {"host-key-changed", "host-key-unknown"}:
        failure = other_address_answered(host)  # another machine now has the old address
    if event.host_key is not None and may_be_refusal(event.failure) and not may_be_refusal(failure):
        host = context.put(with_refusal_elsewhere(host, context.now, event.host_key))
        context.do(Remember(host.name))
    return host, failure


def _needs_user(host: Host, failure: Failure) -> Host:
    """Note that only the user can log in, if the agent's login was refused both before and after the user's login."""
    if not host.login.helped or not host.retry.stopped or failure.kind != "auth" or not failure.positive:
        return host
    return replace(host, login=replace(host.login, kind="typed", helped=False))


def _problem(host: Host, attempt: Attempt, failure: Failure) -> Problem:
    """Return the problem to show to the user.

    If the host key is another one, and the host was never reached on this network, return the problem "not-here".
    """
    key_changed = failure.kind == "host-key-changed" and bool(host.reached.networks)
    if key_changed and not host.reached.at(attempt.network):
        return not_here(host)
    refused = login_needs_user(host) and failure.kind in REFUSED_KINDS and not attempt.at_terminal
    if failure.kind == "proxy-command" and host.retry.stopped:
        return proxy_failed(host, failure.problem)
    return user_needed(host) if refused else failure.problem


def _bypassed_vpn(context: Context, host: Host, attempt: Attempt) -> bool:
    """Report whether a login was tried without the learned VPN."""
    if (
        attempt.network is None
        or host.reached.learned_vpn is None
        or attempt.bare
        or attempt.purpose == "user"
    ):
        return False
    egress = context.state.snapshot.interface(attempt.network.egress)
    return egress is None or egress.kind != "vpn"


def _hold_requested(context: Context, host: Host) -> None:
    """If the user requested many hosts at once, hold back the logins with the refused account and keys."""
    refused = refused_login(host)
    if refused is None:
        return
    for name in context.names:
        other = context.get(name)
        if other is None or not other.user.reconnect or other.attempt is not None or other.name == host.name:
            continue
        if any(refused.same(login) for login in at_risk(other, context.state.hosts)):
            hold(context, other, host)


def login_given_up(context: Context, event: LoginGivenUp) -> None:
    """Note that the user gave up a login. Nothing else changes."""
    context.change(servers=ended(context.state.servers, event.attempt, context.now, "cut"))
    host, attempt = _find(context, event.name, event.attempt)
    if host is not None and attempt is not None and attempt.at_prompt:
        _as_before(context, host)


def _as_before(context: Context, host: Host) -> Host:
    """Clear a failed login at a terminal. It changes nothing else, so a retry that was due stays due."""
    host = context.put(host, attempt=None)
    context.because(host.name, 0, "failed", Evidence.of(login="at_terminal"))
    forget_if_done(context, host.name)
    return host


def _retry_words(retry: Retry, now: float) -> str:
    return "never" if retry.at is None else f"{retry.at - now:.1f}s"


def took_over(context: Context, event: TookOver) -> None:
    """Make the new master on the control path the host's master: the host is connected again."""
    host = context.get(event.name)
    if host is None:
        context.do(Discard(event.name, event.master))
        return
    now = context.now
    old = host.attempt.replaces if host.attempt is not None else None
    outage = host.outage
    began = outage.began_at
    if host.attempt is not None:
        host = answered_by(host, host.attempt)
    user = host.attempt is not None and host.attempt.purpose == "user"
    at_once = user and host.user.at_once
    recovered = began is not None and not user and (old is not None or host.lost)
    if event.drained is not None and event.draining is not None:
        draining_progress.begin(context, host, event.drained, event.draining, proven=not host.suspect)
        draining_progress.publish_begun(context, host.name, event.drained, event.draining)
        old = None
        host = replace(host, forwards=replace(host.forwards, unknown=()))  # the old master still has them
    host = replace(
        host,
        attempt=None,
        outage=replace(host.outage, began_at=None),
        user=replace(host.user, reconnect=False, at_once=False),
    )
    host = install(
        context,
        _to_be_attached(host, event.master.pid, now if began is None else began),
        event.master,
        proven=True,
    )
    if at_once and not host.user.held:
        host = end_sessions(context, host)
    if host.user.held:  # the user disconnected the host in the meantime
        host = context.put(host, killing=host.killing | {event.master.pid})
        context.do(Kill(host.name, event.master, gently=True))
        # If the old master began to drain just now, the user's `disconnect` has not ended it yet.
        if event.drained is not None:
            draining_progress.end_all(context, host.name)
    took_s = now - began if began is not None else None
    host = context.put(
        host,
        outage=replace(
            host.outage,
            recoveries=host.outage.recoveries + (1 if recovered else 0),
            last_recovery_s=took_s if recovered else host.outage.last_recovery_s,
        ),
        login=replace(host.login, worked_at=now),
        forwards=replace(host.forwards, owed=user and not host.user.held),
    )
    if old is not None:
        context.publish("master-killed", host.name, reason="taken over", pid=old)
    took_ms = None if took_s is None else round(took_s * 1e3, 1)
    no_network_ms = outage.no_network_ms(now)
    context.publish(
        "connected",
        host.name,
        reason="adopted" if event.adopted else "",
        pid=event.master.pid,
        took_ms=took_ms,
        no_network_ms=no_network_ms,
    )
    evidence = Evidence.of(pid=event.master.pid, took_ms=took_ms, adopted=event.adopted)
    if no_network_ms:
        evidence = evidence.plus(no_network_ms=no_network_ms)
    context.because(host.name, 0, "connected", evidence)
    context.do(Remember(host.name))


def _to_be_attached(host: Host, pid: int, since: float) -> Host:
    """Make a host that roams attach through the new outer master, unless it is attached there already.

    If the last outer master reached another machine, its sessions have been waiting since before that one.
    """
    roaming = host.roaming
    if roaming is None or roaming.carrier == pid:
        return host
    if roaming.elsewhere is not None and roaming.moving_since is not None:
        since = min(since, roaming.moving_since)
    return replace(host, roaming=replace(roaming, moving_since=since, retry_at=NEVER, failed=0))


def take_over_failed(context: Context, event: TakeOverFailed) -> None:
    """Note that the control path is unavailable: another program listens there, or its directory is gone."""
    host, attempt = _find(context, event.name, event.attempt)
    if host is None or attempt is None:
        return
    problem: Problem = event.failure.problem
    old = frozenset() if host.master is None else frozenset({host.master.pid})
    host = with_failure(host, attempt, event.failure, context.now, 1.0)
    host = context.put(host, attempt=None, killing=host.killing - old, problem=problem)
    publish_connect_failed(context, host, problem)


def obstacle_gone(context: Context, event: ObstacleGone) -> None:
    """Retry at once after a local obstacle is gone. No server saw the failures that it caused."""
    host = context.get(event.name)
    if host is None or host.retry.kind not in LOCAL_KINDS:
        return
    context.put(host, retry=replace(host.retry, at=context.now))
    context.because(host.name, 0, "re-arm", Evidence.of(obstacle="gone"))


def _find(context: Context, name: str, number: int) -> tuple[Host | None, Attempt | None]:
    host = context.get(name)
    attempt = host.attempt if host is not None else None
    if attempt is None or attempt.id != number:
        return None, None
    return host, attempt
