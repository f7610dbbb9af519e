"""Carries out the verdict on a host whose master lives; pure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Kill, Observe, SendProbe
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master, Probe
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.begin_attempt import (
    give_up_attempt,
    holds,
    publish_failure,
    put_in_place,
    start,
    waits_for_carrier,
)
from trayagent.core.policy.begin_roaming import address_to_seek, keep_link, make_usable, seeks_from
from trayagent.core.policy.better_route import race
from trayagent.core.policy.forward_requests import request_forwards
from trayagent.core.policy.key_trials import give_up_trial, try_keys
from trayagent.core.policy.logins.banner_check_in_backoff import check_banner
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS
from trayagent.core.policy.shared_connection import follow_owner, leave, moves_away_at
from trayagent.core.policy.staleness.drain_or_end import fate_of_old, needs_probe
from trayagent.core.policy.staleness.end_idle_draining import end_if_idle
from trayagent.core.policy.staleness.host_key_match import may_replace
from trayagent.core.policy.staleness.judge_master import judge
from trayagent.core.policy.staleness.other_address import address_to_try, reached_another
from trayagent.core.policy.staleness.positive_control import is_timely
from trayagent.core.policy.staleness.silence_limits import patience_s
from trayagent.core.policy.staleness.verdict import Do, Verdict
from trayagent.core.policy.staleness.wait_for_retransmission import grace_until, retransmission_near
from trayagent.core.policy.wanted_connection import needs_bare_control
from trayagent.core.problem_texts import user_needed


def step(context: Context, host: Host, master: Master, admitted: Admission) -> float | None:
    """Judge the master, and do the next step. Return when to continue."""
    now = context.now
    if host.ending:
        return None
    host = give_up_trial(context, host)
    host = race(context, _without_dead_attempt(context, host, admitted), admitted)
    if host.user.reconnect and not admitted.open:
        host = context.put(host, user=replace(host.user, reconnect=False))
    if host.user.reconnect and host.attempt is None and host.resolved is not None:
        return start(context, host, admitted, "user", 0, Evidence.of(user="reconnect"))
    if admitted.open and needs_probe(host):
        host = _probe_old(context, host, master)
    if host.attempt is not None and host.attempt.purpose == "user" and host.attempt.ready is not None:
        return _beside_old(context, host, host.attempt, master, admitted)
    if host.doubt.probe is not None and not host.suspect and not master.relayed:
        silent_at = host.doubt.probe.sent_at + patience_s(master)
        if now < silent_at:
            return silent_at
        # Row 12: the probe got no answer, so the master is in doubt from the time of the probe.
        host = context.put(
            host,
            doubt=replace(
                host.doubt, changed_at=host.doubt.probe.sent_at, silent_at=host.doubt.probe.sent_at
            ),
        )
    idle_at = end_if_idle(context, host, master)
    if (context.get(host.name) or host).ending:
        return None
    verdict = judge(host, context.state, admitted, now)
    if verdict.do not in {"keep", "observe", "replace"}:
        context.because(host.name, verdict.row, verdict.do, verdict.evidence)
    carry_out = _CARRY_OUT.get(verdict.do)
    at = carry_out(context, host, master, admitted, verdict) if carry_out else verdict.check_at
    at = _check_banner(context, context.get(host.name) or host, admitted, verdict, at)
    return min((t for t in (at, idle_at) if t is not None), default=None)


def follow(context: Context, host: Host, owner: Host, master: Master) -> float | None:
    """Follow the owner of the connection that the host uses: only the owner is judged. Return when to continue."""
    host = give_up_trial(context, give_up_attempt(context, host))
    if host.attempt is not None or host.ending or owner.ending:
        return None
    leaves_at = moves_away_at(host, owner)
    if leaves_at is not None and context.now >= leaves_at:
        leave(context, host, owner)
        return None
    host = follow_owner(context, host, owner)
    forwards_at = request_forwards(context, host, master) if owner.linked and not host.suspect else None
    return min((at for at in (leaves_at, forwards_at) if at is not None), default=None)


def _check_banner(
    context: Context, host: Host, admitted: Admission, verdict: Verdict, due: float | None
) -> float | None:
    """Check the server's banner if the control is due much later. Return when to continue."""
    waits_for_server = verdict.queued and (verdict.wait is None or verdict.wait.why == "server")
    if not waits_for_server or host.attempt is not None or needs_bare_control(host):
        return due
    if address_to_try(host) is not None:  # the banner of another address says nothing about this one
        return due
    return check_banner(context, host, admitted, due)


def _probe_old(context: Context, host: Host, master: Master) -> Host:
    """Probe the old master before the user's new master replaces it. If it answers, its sessions can continue."""
    context.do(SendProbe(host.name, master))
    return context.put(host, doubt=replace(host.doubt, probe=Probe(context.now), observed=None))


def _beside_old(
    context: Context, host: Host, attempt: Attempt, master: Master, admitted: Admission
) -> float | None:
    """Move the user's new master to the control path, once it is known whether the old master drains or ends."""
    fate = fate_of_old(host, master, attempt, context.now)
    if fate.do in {"drain", "end"}:
        drain = fate.do == "drain"
        return put_in_place(
            context, host, attempt, 0, Evidence.of(user="reconnect") + fate.evidence, drain=drain
        )
    if fate.do == "observe":
        context.do(Observe(host.name, master, host.probed_at))
    elif fate.do == "probe" and admitted.open:  # without a route, silence would prove nothing
        _probe_old(context, host, master)
        return None
    return fate.at


def _without_dead_attempt(context: Context, host: Host, admitted: Admission) -> Host:
    """Give up an attempt whose local address is gone, or a control that began before the last doubt."""
    attempt = host.attempt
    if attempt is None or attempt.unwanted or attempt.taking_over or attempt.at_prompt:
        return host
    # The user's refused attempt now only serves as a control. The agent does not repeat it.
    user = attempt.purpose == "user" and attempt.refused is None
    late = host.suspect and not user and not (is_timely(attempt, host) and _still_counts(attempt, host))
    if not late and (attempt.positive_at is not None or holds(context, host, attempt, admitted)):
        return host
    host = give_up_attempt(context, host)
    return context.put(host, user=replace(host.user, reconnect=host.user.reconnect or user))


def _still_counts(attempt: Attempt, host: Host) -> bool:
    """Report whether a login that succeeded may still replace the old master.

    Once the lost local address has returned, a login with another key, or at another address, may not replace it.
    """
    if attempt.ready is None:
        return True
    return may_replace(host, attempt.ready.host_key) and not reached_another(
        host, attempt, attempt.ready.peer
    )


def _keep(
    context: Context, host: Host, master: Master, admitted: Admission, _verdict: Verdict
) -> float | None:
    """Row 6: keep the master. Begin a key trial, roaming and requests for forwards, each if it is due."""
    attempt = host.attempt
    if attempt is not None and attempt.purpose == "machine" and attempt.ready is not None:
        return put_in_place(context, host, attempt, 0, Evidence.of(machine="other"), drain=True)
    beside = attempt is not None and attempt.purpose in {"user", "machine"}
    if attempt is not None and (not beside or attempt.refused is not None):
        host = give_up_attempt(context, host)
    trial_at = try_keys(context, host, admitted)
    roaming_at = keep_link(context, context.get(host.name) or host, master, admitted)
    machine_at = _seek_machine(context, context.get(host.name) or host, admitted)
    forwards_at = request_forwards(context, context.get(host.name) or host, master)
    due = (forwards_at, trial_at, roaming_at, machine_at)
    return min((at for at in due if at is not None), default=None)


def _seek_machine(context: Context, host: Host, admitted: Admission) -> float | None:
    """Connect to the address of the far relay's machine if the host's name led to another one.

    The new outer master replaces the one that is of no use to the sessions. Return when to continue.
    """
    if host.attempt is not None or host.draining is not None or not admitted.open:
        return None
    if address_to_seek(host, admitted) is None:
        return None
    at = start(context, host, admitted, "machine", 0, Evidence.of(machine="other"))
    host = context.get(host.name) or host
    if host.attempt is not None and host.roaming is not None:
        sought = host.roaming.sought_from | {seeks_from(admitted)}
        context.put(host, roaming=replace(host.roaming, sought_from=sought))
    return at


def finish(context: Context, host: Host) -> float | None:
    """Finish the user's reconnect of a host that the agent otherwise leaves alone: its control path and its forwards.

    Return when to continue.
    """
    if host.master is None or host.suspect or host.ending or not host.forwards.owed:
        return None
    if not host.linked:
        return make_usable(context, host, host.master) if host.attempt is None else None
    return request_forwards(context, host, host.master)


def _offline(
    context: Context, host: Host, _master: Master, admitted: Admission, verdict: Verdict
) -> float | None:
    waits_until = waits_for_carrier(context, host, admitted)
    if waits_until is not None:
        return min(waits_until, verdict.check_at or waits_until)
    give_up_attempt(context, host)
    return verdict.check_at


def _end(
    context: Context, host: Host, master: Master, _admitted: Admission, verdict: Verdict
) -> float | None:
    """Row 2: end a master that had no route for `keep_while_offline`."""
    context.publish("master-killed", host.name, verdict.evidence, reason="keep_while_offline", pid=master.pid)
    context.do(Kill(host.name, master))
    context.put(host, killing=host.killing | {master.pid}, lost=False)
    return None


def _probe(
    context: Context, host: Host, master: Master, _admitted: Admission, _verdict: Verdict
) -> float | None:
    # After a move, small packets may pass while large packets vanish. Then hardly any program works.
    context.do(SendProbe(host.name, master, large=True))
    control = host.attempt
    if control is not None:  # the new probe gets its own grace
        control = replace(control, grace_until=None, graces=0)
    context.put(
        host,
        doubt=replace(host.doubt, probe=Probe(context.now), observed=None),
        attempt=control,
    )
    return None


def _send_second_probe(
    context: Context, host: Host, master: Master, _admitted: Admission, _verdict: Verdict
) -> float | None:
    if host.doubt.probe is not None:
        context.do(SendProbe(host.name, master, second=True))
        context.put(host, doubt=replace(host.doubt, probe=replace(host.doubt.probe, again_at=context.now)))
    return None


def _observe(
    context: Context, host: Host, master: Master, _admitted: Admission, _verdict: Verdict
) -> float | None:
    context.do(Observe(host.name, master, host.probed_at))
    return None


def _control(
    context: Context, host: Host, _master: Master, admitted: Admission, verdict: Verdict
) -> float | None:
    return start(context, host, admitted, "control", verdict.row, verdict.evidence)


def _grace(
    context: Context, host: Host, _master: Master, _admitted: Admission, _verdict: Verdict
) -> float | None:
    if host.attempt is not None:
        until, near = grace_until(host, context.now), retransmission_near(host, context.now)
        context.put(host, attempt=replace(host.attempt, grace_until=until, graces=host.attempt.graces + near))
    return None


def _replace(
    context: Context, host: Host, _master: Master, _admitted: Admission, verdict: Verdict
) -> float | None:
    if host.attempt is None:
        return None
    return put_in_place(context, host, host.attempt, verdict.row, verdict.evidence)


def _kill(
    context: Context, host: Host, master: Master, _admitted: Admission, verdict: Verdict
) -> float | None:
    """Row 9 where no automatic login is possible, and row 11: end the stale master and start no attempt."""
    if host.draining is None:  # the end of a draining master does not disconnect its owner
        context.publish("master-stale", host.name, verdict.evidence, row=verdict.row, pid=master.pid)
        context.publish("master-killed", host.name, verdict.evidence, pid=master.pid)
    context.do(Kill(host.name, master))
    problem = host.attempt.refused if host.attempt is not None else None
    if problem is not None:
        publish_failure(context, host, problem)
    elif host.retry.kind in REFUSED_KINDS or host.retry.kind == "certificate":
        problem = host.problem  # this refused login is the reason for the bare control
    # If every login needs the user, `connect_host` shows this problem once the master has ended.
    if problem is None and not host.unnamed and not login_needs_user(host):
        problem = user_needed(host)
    killing = host.killing | {master.pid}
    context.put(
        host,
        killing=killing,
        attempt=None,
        lost=not host.unnamed,
        problem=problem,
        doubt=replace(host.doubt, probe=None),
    )
    return None


_CARRY_OUT: dict[Do, Callable[[Context, Host, Master, Admission, Verdict], float | None]] = {
    "keep": _keep,
    "offline": _offline,
    "end": _end,
    "probe": _probe,
    "second probe": _send_second_probe,
    "observe": _observe,
    "control": _control,
    "grace": _grace,
    "replace": _replace,
    "kill": _kill,
}
