"""Handles an attempt that makes progress: its TCP connection is established, or its login succeeded; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Discard
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.events import (
    AttemptEstablished,
    AttemptReady,
)
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host, LoginKind
from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import LOGINS_WINDOW_S
from trayagent.core.on import mptcp
from trayagent.core.on.attempt_failures import problem_of, retry_words
from trayagent.core.on.find_attempt import find_attempt
from trayagent.core.policy.admission import strict
from trayagent.core.policy.logins.account_success import let_in
from trayagent.core.policy.logins.banner_check_in_backoff import answered
from trayagent.core.policy.logins.cut_logins import end_of_cut
from trayagent.core.policy.logins.login_limits_per_server import End, ended, established, visit_of
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import (
    with_failure,
)
from trayagent.core.policy.staleness.host_key_match import (
    may_replace,
    no_control,
    proves_bare,
)
from trayagent.core.policy.staleness.other_address import (
    note,
    other_address_answered,
    reached_another,
)
from trayagent.core.usable_routes import network_from


def attempt_established(context: Context, event: AttemptEstablished) -> None:
    """Row 3: note that an attempt's TCP connection is established. So the route works, and the server counts it."""
    servers = established(context.state.servers, event.attempt, _left_from(context, event))
    context.change(servers=servers)
    host, attempt = find_attempt(context, event.name, event.attempt)
    if host is not None and attempt is not None:
        source = event.local or attempt.source
        at = attempt.established_at if attempt.established_at is not None else context.now
        attempt = replace(attempt, established_at=at, source=source)
        addresses = event.addresses or attempt.addresses
        host = context.put(
            host, attempt=replace(attempt, peer=event.peer or attempt.peer, addresses=addresses)
        )
        if event.mptcp is not None:
            mptcp.note(context, host, event.mptcp, event.local)


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
    host, attempt = find_attempt(context, event.name, event.attempt)
    checked = attempt is not None and attempt.is_banner_check  # a banner check proves no login
    end: End = "unseen" if checked else "through"
    visit = visit_of(context.state.servers, event.attempt)
    names = names_of(host.server, context.state.hosts) if host is not None else ()
    context.change(servers=ended(context.state.servers, event.attempt, context.now, end, names))
    if host is None or attempt is None:
        end_of_cut(context, event.name, event.attempt, None)
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
    context.because(host.name, 10, "failed", evidence.plus(retry=retry_words(host.retry, context.now)))


def _no_control(context: Context, host: Host, attempt: Attempt, event: AttemptReady) -> None:
    """End a new connection, because it does not prove that the master's own server answered. Keep the master."""
    failure = no_control(host, event.host_key)
    if event.master is not None:
        context.do(Discard(host.name, event.master))
    host = with_failure(host, attempt, failure, context.now, 1.0)
    problem = host.problem if attempt.bare else problem_of(host, attempt, failure)
    host = context.put(host, attempt=None, problem=problem)
    retry = host.bare_retry if attempt.bare else host.retry
    evidence = Evidence.of(attempt=attempt.id, host_key=event.host_key or "unproven", kind=failure.kind)
    context.because(host.name, 10, "failed", evidence.plus(retry=retry_words(retry, context.now)))


def _login_of(host: Host, attempt: Attempt, reported: LoginKind) -> LoginKind:
    """Return how the login went.

    Our logs do not show what a jump host requested. If the agent's login was refused before, the user must have typed
    something.
    """
    carried = host.resolved is not None and (host.resolved.proxy_jump or host.resolved.proxy_command)
    refused = host.retry.stopped and host.retry.kind == "auth"
    return "typed" if reported == "quiet" and attempt.at_terminal and carried and refused else reported
