"""Judges a living master by the table of docs/architecture.md, row by row; pure.

`judge` only reads facts, so it may be called at any time and any number of times. Events change the facts, and the
verdict follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    ACKED_UNANSWERED_S,
    ADDRESS_GONE_S,
    ADRIFT_CHECK_S,
    ADRIFT_S,
    FLOWING_RTTS,
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    STOPPED_CHECK_S,
    TENTATIVE_S,
    WOKEN_S,
)
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.begin_attempt import control_possible
from trayagent.core.policy.host_key_match import proves
from trayagent.core.policy.hostname_edited import replaced_by_edit
from trayagent.core.policy.login_waits import Wait, before_login
from trayagent.core.policy.positive_control import is_positive
from trayagent.core.policy.silence_limits import kept_offline_until, patience_s, silent_after_s
from trayagent.core.policy.wait_for_retransmission import retransmission_near, rtt_of_now_s
from trayagent.core.policy.wanted_connection import needs_bare_control

Do = Literal[
    "keep",
    "offline",
    "end",
    "control",
    "probe",
    "second probe",
    "observe",
    "wait",
    "grace",
    "replace",
    "kill",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The row that applies, what it requires, and when to judge again if no event comes.

    `queued`: a control is due but cannot be made yet. `check_at` is the time of the next judgement, or None if an
    event will come first.
    """

    row: int
    do: Do
    evidence: Evidence
    check_at: float | None = None
    queued: bool = False
    wait: Wait | None = None


def judge(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Return the verdict on the host's living master.

    Raises ValueError if the host has no master.
    """
    master = _living(host)
    if not host.suspect:
        return Verdict(6, "keep", Evidence.of(proof="current"))
    if host.draining is not None and host.draining.beside is not None and not state.end_beside:
        return Verdict(6, "keep", Evidence.of(beside="shown"))
    if not admitted.open:
        return _offline(host, state, admitted, now)
    if host.draining is not None:  # a draining master accepts no probe, so judge only the loss of its address
        if host.doubt.gone_at is None:
            return Verdict(6, "keep", Evidence.of(socket="none"))
        return _address_gone(host, state, admitted, host.doubt.gone_at, now)
    carrier = _carrier(master, state, now)
    if carrier is not None and carrier.suspect:
        evidence = Evidence.of(carrier=carrier.name, carrier_suspect="yes")
        may_last = _may_last(carrier, state, now)
        wait = Wait("jump", evidence, jump=carrier.name) if may_last else None
        return Verdict(5, "wait", evidence, queued=may_last, wait=wait)
    control = _control(host)
    if host.doubt.wary_at > host.doubt.proof_at and (control is None or control.established_at is None):
        due_at = host.doubt.wary_at + WOKEN_S
        evidence = Evidence.of(woken_or_underlay="changed")
        if control_possible(host, admitted):
            first = _start_or_await(host, state, admitted, 3, evidence, now)
            return _without_control(host, state, admitted, first, now) if first.queued else first
        if now < due_at:
            return _queued(
                3,
                Evidence.of(woken_or_underlay="changed"),
                Wait("control", Evidence.of(control="impossible"), due_at),
            )
    return _by_own_connection(host, state, admitted, now)


def _without_control(host: Host, state: State, admitted: Admission, queued: Verdict, now: float) -> Verdict:
    """Row 3 while no control can be made: probe the old connection in the meantime."""
    verdict = _by_own_connection(host, state, admitted, now)
    if verdict.do != "wait" or verdict.queued:
        return verdict
    return _sooner(verdict, queued.check_at)


def _by_own_connection(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Rows 4 to 9: judge by the old connection itself."""
    if host.doubt.gone_at is not None:
        return _address_gone(host, state, admitted, host.doubt.gone_at, now)
    return _probed(host, state, admitted, now)


def _carrier(master: Master, state: State, now: float) -> Host | None:
    """Return the host whose master carries the judged master. Return None if the agent does not judge that host."""
    carrier = state.host_of_pid(master.carrier) if master.carrier is not None else None
    if carrier is None or carrier.draining is not None or carrier.wish.connect == "never":
        return None
    if state.paused(carrier, now):
        return None
    return carrier


def _may_last(carrier: Host, state: State, now: float) -> bool:
    """Report whether the verdict on a carrier may take long. It comes soon if the carrier is only being probed."""
    if carrier.attempt is not None or carrier.problem is not None:
        return True
    return judge(carrier, state, admission(carrier, state), now).queued


def _offline(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    if host.draining is not None:
        return Verdict(2, "offline", admitted.evidence)  # the draining master's sessions wait for the network
    since = host.outage.offline_since if host.outage.offline_since is not None else now
    end_at = kept_offline_until(since, state)
    if now >= end_at:
        return Verdict(2, "end", admitted.evidence.plus(offline_s=f"{now - since:.0f}"))
    return Verdict(2, "offline", admitted.evidence, check_at=end_at)


def _address_gone(host: Host, state: State, admitted: Admission, gone_at: float, now: float) -> Verdict:
    evidence = Evidence.of(
        local=host.master.local if host.master else None,
        address="gone",
        gone_ms=f"{(now - gone_at) * 1e3:.0f}",
    )
    # The kernel may have moved the connection (MPTCP). Query the kernel again before anything is done.
    if not _observed_since(host, gone_at):
        return Verdict(4, "observe", evidence)
    control, check_at = _control(host), None
    begun_at = max(gone_at, control.started_at) if control is not None else gone_at
    if host.doubt.observed is not None and host.doubt.observed.adrift and now < begun_at + ADRIFT_S:
        check_at = now + ADRIFT_CHECK_S
        if not _observed_since(host, now - ADRIFT_CHECK_S):
            return Verdict(4, "observe", evidence)
    if control is None or not is_positive(control, host):
        verdict = _start_or_await(host, state, admitted, 4, evidence, now)
        return _sooner(verdict, check_at)
    if check_at is not None:
        return Verdict(4, "wait", evidence.plus(adrift="yes"), check_at=check_at)
    due_at = gone_at + ADDRESS_GONE_S
    if now < due_at:
        return Verdict(4, "wait", evidence, check_at=due_at)
    if not _observed_since(host, max(control.positive_at or now, due_at)):
        return Verdict(4, "observe", evidence)
    return _row_9(host, control, evidence)


def _sooner(verdict: Verdict, at: float | None) -> Verdict:
    if at is None:
        return verdict
    return replace(verdict, check_at=at if verdict.check_at is None else min(at, verdict.check_at))


def _probed(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Rows 5 to 9: the path changed. Probe the server as soon as the address may be used."""
    usable_at = host.doubt.changed_at + TENTATIVE_S
    if host.path is not None and host.path.tentative and now < usable_at:
        local = host.master.local if host.master is not None else None
        return Verdict(5, "wait", Evidence.of(local=local, address="tentative"), check_at=usable_at)
    if host.doubt.probe is None:
        return Verdict(5, "probe", Evidence.of(path="changed", source_differs=_yes(_differs(host))))
    return _silent(host, state, admitted, host.doubt.probe.sent_at, now)


def _silent(host: Host, state: State, admitted: Admission, sent_at: float, now: float) -> Verdict:
    """Rows 6 to 9: a probe has no answer yet."""
    master = _living(host)
    probing_since = max(sent_at, host.doubt.began_at)
    silent_at = probing_since + silent_after_s(master, source_differs=_differs(host))
    evidence = Evidence.of(
        probe="silent",
        silent_ms=f"{(now - probing_since) * 1e3:.0f}",
        rtt_ms=f"{master.rtt_s * 1e3:.0f}",
    )
    if now >= silent_at:
        if not _observed_since(host, silent_at):
            return Verdict(7, "observe", evidence)
        first = _stopped(host, evidence, now) or _second_question(host, evidence)
        if first is not None:
            return first
    control = _control(host)
    if control is None or not is_positive(control, host):
        if now < silent_at:
            return Verdict(5, "wait", evidence, check_at=silent_at)
        return _flowing(host, master, now) or _start_or_await(host, state, admitted, 7, evidence, now)
    verdict = _after_control(host, master, control, evidence, now)
    return _sooner(verdict, silent_at) if verdict.do == "wait" and now < silent_at else verdict


def _after_control(host: Host, master: Master, control: Attempt, evidence: Evidence, now: float) -> Verdict:
    """Rows 8 and 9: the control is positive, and the probe is still without an answer."""
    if control.grace_until is None:
        if not _observed_since(host, control.positive_at or now):
            return Verdict(8, "observe", evidence)
        return _excused(host, master, evidence, now) or Verdict(8, "grace", evidence)
    if now < control.grace_until:
        return Verdict(8, "wait", evidence, check_at=control.grace_until)
    if not _observed_since(host, control.grace_until):
        return Verdict(8, "observe", evidence)
    excused = _excused(host, master, evidence, now)
    if excused is not None:
        return excused
    if not control.waited and retransmission_near(host, now):
        return Verdict(8, "grace", evidence)  # the retransmission was too far away at first, and is near now
    return _row_9(host, control, evidence)


def _second_question(host: Host, evidence: Evidence) -> Verdict | None:
    """Return the verdict to send a second, different probe, or None if it was sent already.

    A program on the server may be stuck while the connection works. The second probe follows the large line to the
    sentinel on the same connection. So where large packets are lost, the second probe gets no answer either.
    """
    if host.doubt.probe is None or host.doubt.probe.again:
        return None
    return Verdict(7, "second probe", evidence)


def _excused(host: Host, master: Master, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while silence proves nothing, else None."""
    return _stopped(host, evidence, now) or _flowing(host, master, now)


def _stopped(host: Host, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while a process of the connection is suspended and cannot read answers, else None."""
    observed = host.doubt.observed
    if observed is None or not observed.stopped:
        return None
    check_at = observed.at + STOPPED_CHECK_S
    stopped = Wait("stopped", Evidence.of(stopped="yes"))
    evidence = evidence + stopped.evidence
    return Verdict(6, "wait" if now < check_at else "observe", evidence, check_at, queued=True, wait=stopped)


def _flowing(host: Host, master: Master, now: float) -> Verdict | None:
    """Return the verdict to wait while data that was sent after the change is being acknowledged, else None.

    The answer is queued behind the user's own traffic, or the server is busy. The wait is limited, because another
    machine on the path may send the acknowledgements. So the answer must come within ACKED_UNANSWERED_S after the data
    queued before the probe was acknowledged.
    """
    probe, observed = host.doubt.probe, host.doubt.observed
    if probe is None or observed is None or probe.moved_at is None or probe.moved_at < host.doubt.began_at:
        return None
    due = observed.retransmit_at
    until = probe.moved_at + max(patience_s(master), FLOWING_RTTS * rtt_of_now_s(host, master))
    if due is None:  # no data waits for an acknowledgement, so no more acknowledgements can come
        until = probe.moved_at + ACKED_UNANSWERED_S
    elif retransmission_near(host, observed.at):  # it was near when the kernel reported it
        # Wait for one retransmission only. With a bounded back-off, the next retransmission is always near. With a
        # back-off that doubles, the next one is too far away after this time.
        near_s = max(RETRANSMISSION_NEAR_S, RETRANSMISSION_NEAR_RTTS * rtt_of_now_s(host, master))
        latest = probe.moved_at + 2 * near_s
        until = max(until, min(due + RETRANSMISSION_RTTS * rtt_of_now_s(host, master), latest))
    evidence = Evidence.of(probe="silent", acked=probe.acked, silent_ms=f"{(now - probe.sent_at) * 1e3:.0f}")
    if probe.drained_at is not None:
        until = min(until, probe.drained_at + ACKED_UNANSWERED_S)
        if now >= until == probe.drained_at + ACKED_UNANSWERED_S:
            return None
    if now < until:
        return Verdict(6, "wait", evidence, check_at=until)
    return None if _observed_since(host, until) else Verdict(6, "observe", evidence)


def _row_9(host: Host, control: Attempt, evidence: Evidence) -> Verdict:
    if control.ready is not None:
        if not proves(host, control.ready.host_key):
            edited = replaced_by_edit(host)
            evidence = evidence.plus(ssh_config="changed") if edited else evidence.plus(host_key="other")
        return Verdict(9, "replace", evidence.plus(control="ready"))
    if control.refused or control.bare:
        return Verdict(9, "kill", evidence.plus(control="refused" if control.refused else "answered"))
    return Verdict(9, "wait", evidence.plus(control="positive"))


def _start_or_await(
    host: Host, state: State, admitted: Admission, row: int, evidence: Evidence, now: float
) -> Verdict:
    attempt = _control(host)
    if attempt is not None and not attempt.unwanted:
        return Verdict(row, "wait", evidence.plus(control="running"))
    if not control_possible(host, admitted):
        return _queued(11, evidence, Wait("control", Evidence.of(control="impossible")))
    retry = host.bare_retry if needs_bare_control(host) else host.retry
    if not retry.due(now):
        return Verdict(10, "wait", evidence.plus(control="negative"), check_at=retry.at, queued=True)
    if attempt is not None:  # an unwanted attempt that the agent lets finish
        return _queued(row, evidence, Wait("server", Evidence.of(control="left_to_finish")))
    wait = before_login(host, state, admitted, now)
    return Verdict(row, "control", evidence) if wait is None else _queued(row, evidence, wait)


def _queued(row: int, evidence: Evidence, wait: Wait) -> Verdict:
    return Verdict(row, "wait", evidence + wait.evidence, wait.at, queued=True, wait=wait)


def _control(host: Host) -> Attempt | None:
    """Return the attempt that is or may become a control. A banner check never does."""
    attempt = host.attempt
    return None if attempt is None or attempt.is_banner_check else attempt


def _living(host: Host) -> Master:
    if host.master is None:
        msg = f"{host.name} has no master to judge"
        raise ValueError(msg)
    return host.master


def _observed_since(host: Host, at: float) -> bool:
    return host.doubt.observed is not None and host.doubt.observed.at >= at


def _differs(host: Host) -> bool:
    return host.path is not None and host.path.source_differs


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
