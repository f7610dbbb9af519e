"""Checks the banner of a server in a long back-off. An answer allows one login before the back-off ends; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import DialBare
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.time_constants import (
    BANNER_CHECK_EVERY_S,
    BANNER_CHECK_FIRST_S,
    BARE_CONTROL_DEADLINE_S,
)
from trayagent.core.find_jump_host import last_jump
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.begin_attempt import begin
from trayagent.core.policy.logins.login_limits_per_server import seen_by
from trayagent.core.policy.logins.login_waits import origin_of, server_free_at
from trayagent.core.policy.logins.server_names import names_of

# The kinds of failures that may be over once the server sends its banner.
_CHECKED_KINDS: frozenset[FailureKind] = frozenset({"refused", "unreachable", "timed-out", "dropped", "died"})


def check_banner(context: Context, host: Host, admitted: Admission, due: float | None) -> float | None:
    """Check whether the server answers, if the host's next login is due much later. Return when to continue."""
    now, hop = context.now, host.hop
    if due is None or hop is None or host.retry.kind not in _CHECKED_KINDS or host.retry.checked:
        return due
    # Behind a jump host, the first server is the jump host's. That server is checked for the jump host.
    if last_jump(context.state.hosts, host) is not None:
        return due
    names = names_of(host.server, context.state.hosts)
    sharing = [other for other in context.state.hosts.values() if other.server in names]
    if any(other.attempt is not None for other in sharing):
        return due
    budget = seen_by(context.state.servers, host.server, origin_of(host, context.state, admitted), names)
    if host.retry.kind == "dropped" and budget.drops == 1:
        return due  # the login at the end of this short pause is the check
    last = max(max(other.retry.failed_at, other.checked_at) for other in sharing)
    soon = budget.drops == 2 and last + BANNER_CHECK_FIRST_S < budget.quiet_until
    check_at = last + (BANNER_CHECK_FIRST_S if soon else BANNER_CHECK_EVERY_S)
    if due - check_at < BARE_CONTROL_DEADLINE_S:
        return due  # the login would wait for the end of the check
    # Ignore the server's pause, but keep to its budget: the login after the answer needs the budget, too.
    answered_now = replace(host, retry=replace(host.retry, allowed=True))
    free_at = server_free_at(answered_now, context.state, admitted, now)
    if free_at is None:
        return due
    check_at = max(check_at, free_at)
    if check_at > now:
        return min(due, check_at)
    host = context.put(host, checked_at=now)
    number = begin(context, host, admitted, Attempt(context.state.next_attempt, "check", now, bare=True)).id
    context.do(DialBare(host.name, number, hop.hostname, hop.port))
    context.because(host.name, 0, "check-banner", Evidence.of(server=host.server, attempt=number))
    return due


def answered(context: Context, host: Host) -> None:
    """Allow one login. If that login fails in the same way, make no further check until the path changes."""
    retry = replace(host.retry, at=context.now, allowed=True, checked=True)
    context.put(host, attempt=None, retry=retry)
    context.because(host.name, 0, "re-arm", Evidence.of(banner="answered", server=host.server))
