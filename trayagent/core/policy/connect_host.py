"""Decides what to do for a host without a master: wait for a route, or connect; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.display_state import NEEDS_USER, STATE_OF
from trayagent.core.facts.attempt import Attempt, Purpose
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.attach_by_port import awaits_port
from trayagent.core.policy.begin_attempt import (
    give_up_attempt,
    holds,
    publish_failure,
    put_in_place,
    request_resolve,
    start,
    waits_for_carrier,
)
from trayagent.core.policy.better_route import race
from trayagent.core.policy.forward_requests import request_forwards
from trayagent.core.policy.logins.banner_check_in_backoff import check_banner
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.wanted_connection import wanted
from trayagent.core.problem_texts import user_needed


def step(context: Context, host: Host, admitted: Admission) -> float | None:
    """Connect a host that is wanted and may be connected on this network. Return when to continue."""
    if not wanted(host):
        give_up_attempt(context, host)
        return None
    if not admitted.open:
        return _without_route(context, host, admitted)
    if host.attempt is not None and host.attempt.is_banner_check:
        if not host.user.reconnect and holds(context, host, host.attempt, admitted):
            return None
        host = give_up_attempt(context, host)
    if host.attempt is not None:
        return _await(context, host, host.attempt, admitted)
    if host.resolved is None:
        return _await_answer(context, host)
    if login_needs_user(host) and not host.user.reconnect:
        return _await_user(context, host, admitted)
    if not host.user.reconnect and not host.retry.due(context.now):
        return check_banner(context, host, admitted, host.retry.at)
    purpose: Purpose = "user" if host.user.reconnect else "connect"
    at = start(context, host, admitted, purpose, 1, Evidence.of(master="none"))
    left = context.get(host.name)
    if at is None or left is None or left.attempt is not None:
        return at
    return check_banner(context, left, admitted, at)


def _without_route(context: Context, host: Host, admitted: Admission) -> float | None:
    """Give up the attempt, unless its route may come back within a moment. Return when to continue."""
    waits_until = waits_for_carrier(context, host, admitted)
    if waits_until is None:
        host = give_up_attempt(context, host)
        if host.user.reconnect:
            context.put(host, user=replace(host.user, reconnect=False))
    return waits_until


def _await_user(context: Context, host: Host, admitted: Admission) -> float | None:
    """Wait for the user to begin the login. Notify them once, unless the far relay's port carries the sessions."""
    if awaits_port(host, admitted):
        return request_forwards(context, host, host.roaming.inner) if host.roaming is not None else None
    if host.problem is None or STATE_OF.get(host.problem.code) not in NEEDS_USER:
        problem = user_needed(host)
        context.put(host, problem=problem)
        context.publish("sign-in-needed", host.name, reason=problem.title)
        context.because(
            host.name,
            0,
            "sign-in-needed",
            Evidence.of(login=host.login.kind, interactive=host.wish.interactive),
        )
    return None


def _await_answer(context: Context, host: Host) -> float | None:
    """Wait for `ssh -G`. If it failed (a slow Match exec, no ssh), run it again after a while."""
    if host.retry.kind is None or not host.retry.due(context.now):
        return host.retry.at if host.retry.kind is not None else None
    request_resolve(context, host.name)
    context.put(host, retry=replace(host.retry, at=None))
    return None


def _await(context: Context, host: Host, attempt: Attempt, admitted: Admission) -> float | None:
    """Leave an attempt alone while it can succeed. If its master is ready, move that master to the control path."""
    if attempt.ready is not None:
        return put_in_place(context, host, attempt, 1, Evidence.of(master="none", control="ready"))
    hopeless = attempt.refused is not None or attempt.bare  # such an attempt cannot succeed any more
    if hopeless or (not attempt.unwanted and not holds(context, host, attempt, admitted)):
        if attempt.refused is not None:  # the attempt was only a control for the old master, which ended
            publish_failure(context, host, attempt.refused)
        host = give_up_attempt(context, host)
        again = attempt.purpose == "user" and not attempt.at_terminal
        if again and not host.user.reconnect:
            context.put(host, user=replace(host.user, reconnect=True))
        return None
    if attempt.unwanted and holds(context, host, attempt, admitted):
        # The old master ended, so the attempt is wanted again.
        host = context.put(host, attempt=replace(attempt, unwanted=False))
    race(context, host, admitted)
    return None
