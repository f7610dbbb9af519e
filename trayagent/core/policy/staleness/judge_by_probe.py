"""Rows 5 to 8: judges a master by its answer to a probe, or by its silence; pure."""

from __future__ import annotations

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master, Probe
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    ACKED_UNANSWERED_S,
    FLOWING_RTTS,
    HEARD_S,
    HEARD_UNCHANGED_PATH_S,
    NEVER,
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    TENTATIVE_S,
)
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.staleness.judge_control import control_of, stale_or_wait, start_or_await_control
from trayagent.core.policy.staleness.positive_control import is_positive
from trayagent.core.policy.staleness.silence_limits import patience_s, silent_after_s, silent_since
from trayagent.core.policy.staleness.verdict import (
    Verdict,
    living_master,
    observed_since,
    sooner,
    while_stopped,
    while_unsent,
)
from trayagent.core.policy.staleness.wait_for_retransmission import (
    graces_needed,
    retransmission_near,
    rtt_of_now_s,
)


def judge_by_probe(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Rows 5 to 9: the path changed. Probe the server as soon as the address may be used."""
    usable_at = host.doubt.changed_at + TENTATIVE_S
    if host.path is not None and host.path.tentative and now < usable_at:
        local = host.master.local if host.master is not None else None
        return Verdict(5, "wait", Evidence.of(local=local, address="tentative"), check_at=usable_at)
    if host.doubt.probe is None:
        return Verdict(5, "probe", Evidence.of(path="changed", source_differs=_yes(_differs(host))))
    return _silent(host, state, admitted, host.doubt.probe, now)


def _silent(host: Host, state: State, admitted: Admission, probe: Probe, now: float) -> Verdict:
    """Rows 6 to 9: a probe has no answer yet."""
    master = living_master(host)
    probing_since = silent_since(host, probe)
    silent_at = probing_since + silent_after_s(master, source_differs=_differs(host))
    evidence = Evidence.of(
        probe="silent",
        silent_ms=f"{(now - probing_since) * 1e3:.0f}",
        rtt_ms=f"{master.rtt_s * 1e3:.0f}",
    )
    if now >= silent_at:
        if not observed_since(host, silent_at):
            return Verdict(7, "observe", evidence)
        first = while_stopped(host, evidence, now) or _second_question(host, evidence)
        if first is not None:
            return first
    control = control_of(host)
    if control is None or not is_positive(control, host):
        if now < silent_at:
            return Verdict(5, "wait", evidence, check_at=silent_at)
        waits = _hearing(host, evidence, now) or _flowing(host, master, now)
        return waits or start_or_await_control(host, state, admitted, 7, evidence, now)
    verdict = _after_control(host, master, control, evidence, now)
    return sooner(verdict, silent_at) if verdict.do == "wait" and now < silent_at else verdict


def _after_control(host: Host, master: Master, control: Attempt, evidence: Evidence, now: float) -> Verdict:
    """Rows 8 and 9: the control is positive, and the probe is still without an answer."""
    if control.grace_until is None:
        if not observed_since(host, control.positive_at or now):
            return Verdict(8, "observe", evidence)
        return _excused(host, master, evidence, now) or Verdict(8, "grace", evidence)
    if now < control.grace_until:
        return Verdict(8, "wait", evidence, check_at=control.grace_until)
    if not observed_since(host, control.grace_until):
        return Verdict(8, "observe", evidence)
    excused = _excused(host, master, evidence, now)
    if excused is not None:
        return excused
    if control.graces < graces_needed(host, control) and retransmission_near(host, now):
        return Verdict(8, "grace", evidence)
    second_until = _second_answer_until(host, master, control)
    if now < second_until:
        return Verdict(8, "wait", evidence, check_at=second_until)
    return stale_or_wait(host, control, evidence)


def _second_answer_until(host: Host, master: Master, control: Attempt) -> float:
    """Return until when the second probe may be answered, if it was sent only after the control succeeded.

    Otherwise the answer would have come before the control's.
    """
    probe, positive_at = host.doubt.probe, control.positive_at
    if probe is None or probe.again_at is None or positive_at is None or positive_at > probe.again_at:
        return NEVER
    return probe.again_at + silent_after_s(master, source_differs=True)


def _second_question(host: Host, evidence: Evidence) -> Verdict | None:
    """Return the verdict to send a second, different probe, or None if it was sent already.

    A program on the server may be stuck while the connection works. The second probe follows the large line to the
    sentinel on the same connection. So where large packets are lost, the second probe gets no answer either.
    """
    if host.doubt.probe is None or host.doubt.probe.again_at is not None:
        return None
    return Verdict(7, "second probe", evidence)


def _excused(host: Host, master: Master, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while silence proves nothing, else None."""
    hindered = while_stopped(host, evidence, now) or while_unsent(host, evidence, now)
    return hindered or _hearing(host, evidence, now) or _flowing(host, master, now)


def _hearing(host: Host, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while data comes from the server, else None.

    On a slow line, a download fills the server's queue, and the answer waits behind it for longer than a minute. Forged
    data would end the connection by itself, because ssh checks each packet.
    """
    probe, observed = host.doubt.probe, host.doubt.observed
    if probe is None or observed is None or observed.heard_at is None:
        return None
    if observed.heard_at <= max(probe.sent_at, host.doubt.began_at):
        return None
    until = observed.heard_at + (HEARD_UNCHANGED_PATH_S if host.path_unchanged else HEARD_S)
    evidence = evidence + Evidence.of(heard_ms=f"{(now - observed.heard_at) * 1e3:.0f}")
    if now < until:
        return Verdict(6, "wait", evidence, check_at=until)
    return None if observed_since(host, until) else Verdict(6, "observe", evidence)


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
    return None if observed_since(host, until) else Verdict(6, "observe", evidence)


def _differs(host: Host) -> bool:
    return host.path is not None and host.path.source_differs


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
