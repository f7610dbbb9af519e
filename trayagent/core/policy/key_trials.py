"""Checks beside a living master whether a login without the user works, before the master ends; pure.

A trial is a login like any other. It is made only where a login may be made, and the server's limits apply. After a
refusal there is no further trial until something changes.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Abort, Remember, TryKeys
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.events import TrialEnded, TrialVerdict
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.time_constants import HOUR_S, TRIALS_PER_HOUR
from trayagent.core.facts.user_events import KeysChanged
from trayagent.core.find_jump_host import last_jump
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.begin_attempt import count_failure
from trayagent.core.policy.logins.account_lockout import account_free_at
from trayagent.core.policy.logins.login_limits_per_server import End, ended, established, may_abort, started
from trayagent.core.policy.logins.login_needs_user import foreign_proxy, login_needs_user
from trayagent.core.policy.logins.login_waits import origin_of, server_free_at
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import (
    REFUSED_KINDS,
    after_success,
    may_be_refusal,
    refusable_at,
    with_failure,
    with_refusal,
    with_refusal_elsewhere,
)
from trayagent.core.policy.staleness.host_key_match import is_another
from trayagent.core.problem_texts import refused_next_time


def keys_changed(context: Context, event: KeysChanged) -> None:
    """Note that a key trial is due for these hosts. Their living masters do not show whether the next login works."""
    for name in event.names:
        host = context.get(name)
        if host is not None:
            want_trial(context, host, Evidence.of(keys="changed"))


def want_trial(context: Context, host: Host, evidence: Evidence) -> None:
    """Note that a trial is due beside the host's living master, if the agent may log in to the host at all."""
    if host.master is None or not _agent_may_try(host):
        return
    context.put(host, trial=replace(host.trial, wanted_at=context.now))
    context.because(host.name, 0, "try-keys", evidence)


def _agent_may_try(host: Host) -> bool:
    """Report whether the agent itself logs in to this host without the user."""
    logged_in_by_us = host.wish.listed or (host.master is not None and host.master.started_by_agent)
    needs_user = login_needs_user(host) or foreign_proxy(host)
    return logged_in_by_us and not host.unnamed and host.wish.connect != "never" and not needs_user


def try_keys(context: Context, host: Host, admitted: Admission) -> float | None:
    """Begin the trial that a healthy host waits for, or return when the trial may begin (None: after an event)."""
    trial, now = host.trial, context.now
    if trial.wanted_at is None or trial.running is not None or host.attempt is not None:
        return None
    if not admitted.open or host.user.held or host.resolved is None or not _agent_may_try(host):
        return None
    if not _jump_is_up(context, host):
        context.put(host, trial=replace(trial, wanted_at=None))
        context.because(host.name, 0, "keys-not-tried", Evidence.of(jump="not_connected"))
        return None
    at = _allowed_at(context, host, admitted)
    if at is None or at > now:
        return at
    number = context.state.next_attempt
    origin = origin_of(host, context.state, admitted)
    servers = started(context.state.servers, host.server, number, origin, now)
    context.change(next_attempt=number + 1, servers=servers)
    begun = (*(t for t in trial.begun if now - t < HOUR_S), now)
    context.put(host, trial=replace(trial, wanted_at=None, running=number, begun=begun))
    context.do(TryKeys(host.name, number))
    return None


def give_up_trial(context: Context, host: Host) -> Host:
    """End a trial that began before the last doubt, and note that the keys still have to be tried.

    The trial's connection may be lost. Until its deadline, the trial would count as a login that may still be refused,
    and the account's other hosts would wait for it.
    """
    trial, now = host.trial, context.now
    if trial.running is None or trial.begun[-1] >= host.doubt.began_at:
        return host
    servers = established(context.state.servers, trial.running)  # the server may have seen the trial
    if not may_abort(servers, trial.running, now, names_of(host.server, context.state.hosts)):
        return host
    context.do(Abort(host.name, trial.running))
    context.change(servers=ended(servers, trial.running, now, "cut"))
    return context.put(host, trial=replace(trial, running=None, wanted_at=trial.wanted_at or trial.begun[-1]))


def answered_by(host: Host, attempt: Attempt) -> Host:
    """Return the host with no trial due, if a login that began after the keys changed has tested the keys."""
    wanted = host.trial.wanted_at
    if wanted is None or attempt.started_at < wanted:
        return host
    return replace(host, trial=replace(host.trial, wanted_at=None))


def trial_ended(context: Context, event: TrialEnded) -> None:
    """Note whether the next login would work. The living master stays as it is."""
    failure = event.failure
    if event.verdict in {"passed", "skipped"} or failure is None:
        end = _ENDS.get(event.verdict, "failed")
        host = context.get(event.name)
        names = names_of(host.server, context.state.hosts) if host is not None else ()
        context.change(servers=ended(context.state.servers, event.attempt, context.now, end, names))
    else:
        count_failure(context, context.get(event.name), event.attempt, failure, event.jitter)
    host = context.get(event.name)
    if host is None or host.trial.running != event.attempt:
        return
    host = context.put(host, trial=replace(host.trial, running=None))
    verdict = event.verdict
    another = is_another(host, event.host_key)
    if event.host_key is None or another:
        verdict = "unknown" if verdict in {"passed", "refused"} else verdict
    context.because(host.name, 0, _WORDS[verdict], event.evidence)
    if verdict == "passed":
        _passed(context, host)
    elif failure is not None and another and event.host_key is not None and may_be_refusal(failure):
        context.put(with_refusal_elsewhere(host, context.now, event.host_key))
        context.do(Remember(host.name))
    elif failure is not None and failure.perhaps_refused and not another:
        context.put(with_refusal(host, failure, context.now, event.host_key))
        context.do(Remember(host.name))
    elif verdict == "refused" and failure is not None:
        _refused(context, host, event, failure)


_ENDS: dict[TrialVerdict, End] = {"passed": "through", "skipped": "unseen"}
_WORDS = {
    "passed": "keys-pass",
    "refused": "keys-refused",
    "unknown": "keys-unknown",
    "skipped": "keys-not-tried",
}


def _passed(context: Context, host: Host) -> None:
    """Clear an earlier refused login, and the doubt whether the host needs the user."""
    host = context.put(host, login=replace(host.login, helped=False))
    if host.retry.kind in REFUSED_KINDS:
        context.put(host, retry=after_success(host.retry, context.now), problem=None)
        context.do(Remember(host.name))


def _refused(context: Context, host: Host, event: TrialEnded, failure: Failure) -> None:
    """Warn the user while the old connection still lives, and make no second login automatically.

    If the user connected after an earlier refusal, do not warn: they already know that the host needs them.
    """
    if host.login.helped:
        host = with_refusal(host, failure, context.now, event.host_key)
        context.put(host, login=replace(host.login, kind="typed", helped=False))
        context.do(Remember(host.name))
        return
    attempt = Attempt(event.attempt, "connect", context.now)
    host = with_failure(host, attempt, failure, context.now, event.jitter, event.host_key)
    already_shown = host.problem == failure.problem
    host = context.put(host, problem=failure.problem)
    context.do(Remember(host.name))
    if not already_shown:
        title = refused_next_time(host, failure.problem).title
        context.publish("sign-in-needed", host.name, reason=title, code=failure.problem.code)


def _jump_is_up(context: Context, host: Host) -> bool:
    """Report whether the host needs no login at a jump host: it has none, or the jump host has a living master."""
    if host.resolved is None or host.resolved.proxy_jump is None:
        return True
    other = last_jump(context.state.hosts, host)
    return other is not None and other.master is not None and not other.suspect


def _allowed_at(context: Context, host: Host, admitted: Admission) -> float | None:
    """Return when a trial is within all limits; None if a running attempt must end first."""
    now, begun = context.now, host.trial.begun
    free = server_free_at(host, context.state, admitted, now)
    account = account_free_at(host, context.state.accountable, now)
    if free is None or account is None:
        return None
    at = max(free, account, refusable_at(host, now))
    if len(begun) >= TRIALS_PER_HOUR:
        at = max(at, begun[-TRIALS_PER_HOUR] + HOUR_S)
    return at
