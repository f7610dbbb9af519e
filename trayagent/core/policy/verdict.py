"""How a living master is judged: the table of docs/architecture.md, row by row; pure.

`judge` looks at facts only, so it may be asked at any time and as often as one likes:
events change the facts, the verdict follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trayagent.core.facts.hosts import Attempt, Host, Master
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    ACKED_UNANSWERED_S,
    ADDRESS_GONE_S,
    ADRIFT_LOOK_S,
    ADRIFT_S,
    END_AFTER_WAKE_S,
    FLOWING_RTTS,
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    RTT_OF_NOW_MAX_S,
    SILENT_FLOOR_S,
    SILENT_FLOOR_SOURCE_DIFFERS_S,
    SILENT_RTTS,
    SILENT_RTTS_SOURCE_DIFFERS,
    TENTATIVE_S,
    WOKEN_S,
)
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.attempts import control_possible
from trayagent.core.policy.waits import Wait, before_login
from trayagent.core.policy.wanted import needs_bare_control

Do = Literal["keep", "offline", "end", "control", "probe", "observe", "wait", "grace", "replace", "kill"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The row that applies, what it asks for, and when to look again by the clock alone.

    `queued`: a control is due and cannot be made yet; `look_at` is when, None where no clock tells.
    """

    row: int
    do: Do
    evidence: str
    look_at: float | None = None
    queued: bool = False
    wait: Wait | None = None


def judge(host: Host, state: State, way: Admission, now: float) -> Verdict:
    """Return the verdict on the host's living master.

    Raises ValueError when there is none.
    """
    master = _living(host)
    if not host.suspect:
        return Verdict(6, "keep", "proof=current")
    if not way.open:
        return _offline(host, state, way, now)
    carrier = _carrier(master, state, now)
    if carrier is not None and carrier.suspect:
        evidence = f"carrier={carrier.name} carrier_suspect=yes"
        lasts = _lasts(carrier, state, now)
        wait = Wait("jump", evidence, jump=carrier.name) if lasts else None
        return Verdict(5, "wait", evidence, queued=lasts, wait=wait)
    control = host.attempt
    if host.wary_at > host.proof_at and (control is None or control.established_at is None):
        settled_at = host.wary_at + WOKEN_S
        if control_possible(host, way):
            first = _start_or_await(host, state, way, 3, "woken_or_underlay=changed", now)
            return _without_control(host, state, way, first, now) if first.queued else first
        if now < settled_at:
            return _queued(3, "woken_or_underlay=changed", Wait("control", "control=impossible", settled_at))
    return _by_itself(host, state, way, now)


def _without_control(host: Host, state: State, way: Admission, queued: Verdict, now: float) -> Verdict:
    """Row 3 where no control can be made now: the old connection is asked meanwhile."""
    verdict = _by_itself(host, state, way, now)
    if verdict.do != "wait" or verdict.queued:
        return verdict
    return _sooner(verdict, queued.look_at)


def _by_itself(host: Host, state: State, way: Admission, now: float) -> Verdict:
    """Rows 4 to 9: by what is seen of the old connection itself."""
    if host.gone_at is not None:
        return _address_gone(host, state, way, host.gone_at, now)
    return _asked(host, state, way, now)


def _carrier(master: Master, state: State, now: float) -> Host | None:
    """Return the host whose master carries this one, where that one is judged at all."""
    carrier = state.host_of_pid(master.carrier) if master.carrier is not None else None
    if carrier is None or carrier.wish.connect == "never" or state.paused(carrier, now):
        return None
    return carrier


def _lasts(carrier: Host, state: State, now: float) -> bool:
    """Report whether a carrier has a control to wait for, or waits itself; one question is soon answered."""
    if carrier.attempt is not None or carrier.problem is not None:
        return True
    return judge(carrier, state, admission(carrier, state), now).queued


def silent_after_s(master: Master, *, source_differs: bool) -> float:
    """Return how long a probe may stay unanswered before a control is worth its cost (row 7)."""
    if source_differs:
        return max(SILENT_RTTS_SOURCE_DIFFERS * master.rtt_s, SILENT_FLOOR_SOURCE_DIFFERS_S)
    return patience_s(master)


def patience_s(master: Master) -> float:
    """Return how long a probe must stay unanswered before anything is ended for it (row 8)."""
    return max(SILENT_RTTS * master.rtt_s, SILENT_FLOOR_S)


def _offline(host: Host, state: State, way: Admission, now: float) -> Verdict:
    since = host.offline_since if host.offline_since is not None else now
    end_at = max(since + state.keep_while_offline_s, state.woke_at + END_AFTER_WAKE_S)
    if now >= end_at:
        return Verdict(2, "end", f"{way.evidence} offline_s={now - since:.0f}")
    return Verdict(2, "offline", way.evidence, look_at=end_at)


def _address_gone(host: Host, state: State, way: Admission, gone_at: float, now: float) -> Verdict:
    evidence = (
        f"local={host.master.local if host.master else None} address=gone gone_ms={(now - gone_at) * 1e3:.0f}"
    )
    # The kernel may have moved the connection (MPTCP): it is looked for anew before anything is done.
    if not _observed_since(host, gone_at):
        return Verdict(4, "observe", evidence)
    control, look_at = host.attempt, None
    begun_at = max(gone_at, control.started_at) if control is not None else gone_at
    if host.observed is not None and host.observed.adrift and now < begun_at + ADRIFT_S:
        look_at = now + ADRIFT_LOOK_S
        if not _observed_since(host, now - ADRIFT_LOOK_S):
            return Verdict(4, "observe", evidence)
    if control is None or not is_positive(control, host):
        verdict = _start_or_await(host, state, way, 4, evidence, now)
        return _sooner(verdict, look_at)
    if look_at is not None:
        return Verdict(4, "wait", f"{evidence} adrift=yes", look_at=look_at)
    settled_at = gone_at + ADDRESS_GONE_S
    if now < settled_at:
        return Verdict(4, "wait", evidence, look_at=settled_at)
    if not _observed_since(host, max(control.positive_at or now, settled_at)):
        return Verdict(4, "observe", evidence)
    return _ninth(control, evidence)


def _sooner(verdict: Verdict, at: float | None) -> Verdict:
    if at is None:
        return verdict
    return replace(verdict, look_at=at if verdict.look_at is None else min(at, verdict.look_at))


def _asked(host: Host, state: State, way: Admission, now: float) -> Verdict:
    """Rows 5 to 9: the path changed; the far end is asked as soon as the address may be used."""
    usable_at = host.changed_at + TENTATIVE_S
    if host.path is not None and host.path.tentative and now < usable_at:
        local = host.master.local if host.master is not None else None
        return Verdict(5, "wait", f"local={local} address=tentative", look_at=usable_at)
    if host.probe is None:
        return Verdict(5, "probe", f"path=changed source_differs={_yes(_differs(host))}")
    return _silent(host, state, way, host.probe.sent_at, now)


def _silent(host: Host, state: State, way: Admission, sent_at: float, now: float) -> Verdict:
    """Rows 6 to 9: a probe is on its way and not answered."""
    master = _living(host)
    asked_at = max(sent_at, host.doubt_at)
    silent_at = asked_at + silent_after_s(master, source_differs=_differs(host))
    evidence = f"probe=silent silent_ms={(now - asked_at) * 1e3:.0f} rtt_ms={master.rtt_s * 1e3:.0f}"
    control = host.attempt
    if control is None or not is_positive(control, host):
        if now < silent_at:
            return Verdict(5, "wait", evidence, look_at=silent_at)
        if not _observed_since(host, silent_at):
            return Verdict(7, "observe", evidence)
        return _flowing(host, master, now) or _start_or_await(host, state, way, 7, evidence, now)
    positive_at = control.positive_at or now
    if control.grace_until is None:
        if not _observed_since(host, positive_at):
            return Verdict(8, "observe", evidence)
        return _flowing(host, master, now) or Verdict(8, "grace", evidence)
    if now < control.grace_until:
        return Verdict(8, "wait", evidence, look_at=control.grace_until)
    if not _observed_since(host, control.grace_until):
        return Verdict(8, "observe", evidence)
    flowing = _flowing(host, master, now)
    if flowing is not None:
        return flowing
    if not control.waited and retransmission_near(host, now):
        return Verdict(8, "grace", evidence)  # too far to be waited for at first, near by now
    return _ninth(control, evidence)


def _flowing(host: Host, master: Master, now: float) -> Verdict | None:
    """Return the verdict while what was sent after the change is being acknowledged, else None.

    The answer waits behind the user's own traffic, or for a busy server. It may not wait forever: only the next
    TCP on the way acknowledges, so an answer is due some time after the data queued before the question is gone.
    """
    probe, observed = host.probe, host.observed
    if probe is None or observed is None or probe.moved_at is None or probe.moved_at < host.doubt_at:
        return None
    due = observed.retransmit_at
    until = probe.moved_at + max(patience_s(master), FLOWING_RTTS * rtt_of_now_s(host, master))
    if due is None:  # nothing waits for an acknowledgement, so no more of them can come
        until = probe.moved_at + ACKED_UNANSWERED_S
    elif retransmission_near(host, now):
        until = max(until, due + RETRANSMISSION_RTTS * rtt_of_now_s(host, master))
    evidence = f"probe=silent acked={probe.acked} silent_ms={(now - probe.sent_at) * 1e3:.0f}"
    if probe.drained_at is not None:
        until = min(until, probe.drained_at + ACKED_UNANSWERED_S)
        if now >= until == probe.drained_at + ACKED_UNANSWERED_S:
            return None
    if now < until:
        return Verdict(6, "wait", evidence, look_at=until)
    return None if _observed_since(host, until) else Verdict(6, "observe", evidence)


def rtt_of_now_s(host: Host, master: Master) -> float:
    """Return the round trip with the queues of now in it, as far as the kernel told it."""
    told = host.observed.rtt_s if host.observed is not None else None
    return min(max(master.rtt_s, told or 0.0), RTT_OF_NOW_MAX_S)


def grace_until(host: Host, now: float) -> float:
    """Return until when a silent master may still speak, its control being positive (row 8)."""
    master, probe = host.master, host.probe
    if master is None or probe is None:
        return now
    until = max(probe.sent_at, host.doubt_at) + patience_s(master)
    due = host.observed.retransmit_at if host.observed is not None else None
    if due is not None and retransmission_near(host, now):
        until = max(until, due + RETRANSMISSION_RTTS * rtt_of_now_s(host, master))
    return until


def retransmission_near(host: Host, now: float) -> bool:
    """Report whether the old connection will speak up by itself so soon that it is worth the wait."""
    due = host.observed.retransmit_at if host.observed is not None else None
    if due is None or host.master is None:
        return False
    near_s = RETRANSMISSION_NEAR_RTTS * rtt_of_now_s(host, host.master)
    return due - now < max(RETRANSMISSION_NEAR_S, near_s)


def _ninth(control: Attempt, evidence: str) -> Verdict:
    if control.ready is not None:
        return Verdict(9, "replace", f"{evidence} control=ready")
    if control.refused or control.bare:
        return Verdict(9, "kill", f"{evidence} control={'refused' if control.refused else 'answered'}")
    return Verdict(9, "wait", f"{evidence} control=positive")


def _start_or_await(host: Host, state: State, way: Admission, row: int, evidence: str, now: float) -> Verdict:
    if host.attempt is not None and not host.attempt.unwanted:
        return Verdict(row, "wait", f"{evidence} control=running")
    if not control_possible(host, way):
        return _queued(11, evidence, Wait("control", "control=impossible"))
    due = (host.bare_retry if needs_bare_control(host) else host.retry).at
    if due is None or due > now:
        return Verdict(10, "wait", f"{evidence} control=negative", look_at=due, queued=True)
    if host.attempt is not None:  # an unwanted one is being left to finish
        return _queued(row, evidence, Wait("server", "control=left_to_finish"))
    wait = before_login(host, state, way, now)
    return Verdict(row, "control", evidence) if wait is None else _queued(row, evidence, wait)


def _queued(row: int, evidence: str, wait: Wait) -> Verdict:
    return Verdict(row, "wait", f"{evidence} {wait.evidence}", wait.at, queued=True, wait=wait)


def _living(host: Host) -> Master:
    if host.master is None:
        msg = f"{host.name} has no master to judge"
        raise ValueError(msg)
    return host.master


def is_positive(control: Attempt, host: Host) -> bool:
    """Report whether the control proves the way: answered, and begun after the path last changed."""
    return control.positive_at is not None and is_timely(control, host)


def is_timely(control: Attempt, host: Host) -> bool:
    """Report whether the control began late enough to tell of the path that the master has now.

    Where that change was the loss of the master's own address, one that goes from another address may have
    begun before it: what it shows is not touched by the loss.
    """
    if control.unwanted:
        return False
    local = host.master.local if host.master is not None else None
    elsewhere = control.source is not None and control.source != local
    return control.started_at >= host.doubt_at or (host.gone_at is not None and elsewhere)


def _observed_since(host: Host, at: float) -> bool:
    return host.observed is not None and host.observed.at >= at


def _differs(host: Host) -> bool:
    return host.path is not None and host.path.source_differs


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
