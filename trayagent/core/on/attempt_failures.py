"""Handles an attempt that failed or was given up, and the end of what made it fail; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.attempt import Attempt, Retry
from trayagent.core.facts.events import (
    AttemptFailed,
    ObstacleGone,
)
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import NETWORKS_KEPT, Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.user_events import LoginGivenUp
from trayagent.core.on.find_attempt import find_attempt
from trayagent.core.on.master_events import forget_if_done
from trayagent.core.policy.begin_attempt import count_failure, hold, publish_connect_failed, publish_failure
from trayagent.core.policy.logins.account_lockout import at_risk, refused_login
from trayagent.core.policy.logins.cut_logins import end_of_cut
from trayagent.core.policy.logins.login_limits_per_server import ended
from trayagent.core.policy.logins.login_needs_user import login_needs_user
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
    proves,
)
from trayagent.core.policy.staleness.other_address import (
    after_failure,
    at_old_address,
    other_address_answered,
    reached_another,
)
from trayagent.core.policy.staleness.positive_control import is_timely
from trayagent.core.problem_texts import not_here, proxy_failed, user_needed


def attempt_failed(context: Context, event: AttemptFailed) -> None:
    """Row 10: note a failed attempt. If the right server answered and refused the login, row 9 applies instead."""
    now, failure = context.now, event.failure
    host, attempt = find_attempt(context, event.name, event.attempt)
    if host is not None and attempt is not None and attempt.is_banner_check:
        context.change(servers=ended(context.state.servers, event.attempt, now, "unseen"))
        context.put(host, attempt=None)
        context.because(host.name, 0, "banner-missing", Evidence.of(kind=failure.kind))
        return
    count_failure(context, host, event.attempt, failure, event.jitter)
    if host is None or attempt is None:
        end_of_cut(context, event.name, event.attempt, failure, event.host_key)
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
    problem = problem_of(host, attempt, failure)
    # Show that the VPN is down. Without the VPN the server cannot be reached anyway.
    expected = bypassed and attempt.purpose != "user" and failure.kind not in REFUSED_KINDS
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
    context.because(host.name, row, "failed", evidence.plus(retry=retry_words(host.retry, now)))
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


def problem_of(host: Host, attempt: Attempt, failure: Failure) -> Problem:
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
    if attempt.network is None or host.reached.learned_vpn is None or attempt.bare:
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
    host, attempt = find_attempt(context, event.name, event.attempt)
    if host is not None and attempt is not None and attempt.at_prompt:
        _as_before(context, host)


def _as_before(context: Context, host: Host) -> Host:
    """Clear a failed login at a terminal. It changes nothing else, so a retry that was due stays due."""
    host = context.put(host, attempt=None)
    context.because(host.name, 0, "failed", Evidence.of(login="at_terminal"))
    forget_if_done(context, host.name)
    return host


def retry_words(retry: Retry, now: float) -> str:
    """Return when the next try is due, as evidence: "never" or "20.0s"."""
    return "never" if retry.at is None else f"{retry.at - now:.1f}s"


def obstacle_gone(context: Context, event: ObstacleGone) -> None:
    """Retry at once after a local obstacle is gone. No server saw the failures that it caused."""
    host = context.get(event.name)
    if host is None or host.retry.kind not in LOCAL_KINDS:
        return
    context.put(host, retry=replace(host.retry, at=context.now))
    context.because(host.name, 0, "re-arm", Evidence.of(obstacle="gone"))
