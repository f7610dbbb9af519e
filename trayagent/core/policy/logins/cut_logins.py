"""Counts logins that the agent ended before it knew their result: the refusal may have been on its way; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Abort, Remember
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.events import AttemptCut
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.logins.account_lockout import is_counted
from trayagent.core.policy.logins.login_limits_per_server import ended
from trayagent.core.policy.logins.when_to_retry import (
    may_be_refusal,
    with_refusal,
    with_refusal_elsewhere,
)
from trayagent.core.policy.staleness.host_key_match import is_another


def abort(context: Context, host: Host, attempt: Attempt) -> Host:
    """End a host's attempt before it has a result, and return the host.

    Until the agent reports whether a login had begun, the attempt counts as one in progress. A login that began just
    after the same login succeeded is not counted.
    """
    lost = attempt.source is not None and not context.state.snapshot.has_address(attempt.source)
    context.do(Abort(host.name, attempt.id, lost))
    context.change(servers=ended(context.state.servers, attempt.id, context.now, "cut"))
    if not attempt.bare and not attempt.trusted and attempt.established_at is not None:
        cut = (*host.login.cut, (attempt.id, context.now))
        host = replace(host, login=replace(host.login, cut=cut))
    return context.put(host, attempt=None)


def attempt_cut(context: Context, event: AttemptCut) -> None:
    """Note how an attempt ended that the agent had ended."""
    end_of_cut(context, event.name, event.attempt, event.failure, event.host_key)


def end_of_cut(
    context: Context, name: str, number: int, failure: Failure | None, host_key: str | None = None
) -> None:
    """If the login of an ended attempt may have been refused, count that, at the time when the agent ended it.

    Logins that one event ended at the same time count once. Otherwise one move would use up the whole limit.
    """
    host = context.get(name)
    if host is None:
        return
    times = dict(host.login.cut)
    if number not in times:
        return
    left = tuple((attempt, at) for attempt, at in host.login.cut if attempt != number)
    host = context.put(host, login=replace(host.login, cut=left))
    if failure is None or not may_be_refusal(failure) or is_counted(host, context.hosts, times[number]):
        return
    if host_key is not None and is_another(host, host_key):
        host = with_refusal_elsewhere(host, times[number], host_key)
    else:
        host = with_refusal(host, failure, times[number], host_key)
    context.put(host, login=replace(host.login, unread_at=times[number]))
    context.do(Remember(name))  # an agent that starts later must count it, too
