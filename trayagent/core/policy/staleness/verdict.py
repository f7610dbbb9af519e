"""The verdict on a living master: the row of the table that applies, and what it requires; pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import STOPPED_CHECK_S, UNSENT_CHECK_S, UNSENT_S
from trayagent.core.policy.logins.login_waits import Wait

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


class Verdict(Struct, frozen=True):
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


def sooner(verdict: Verdict, at: float | None) -> Verdict:
    """Return the verdict, to be judged again at `at` at the latest (monotonic; None: no limit)."""
    if at is None:
        return verdict
    return replace(verdict, check_at=at if verdict.check_at is None else min(at, verdict.check_at))


def control_queued(row: int, evidence: Evidence, wait: Wait) -> Verdict:
    """Return the verdict that a control is due but must wait, with the reason for the wait."""
    return Verdict(row, "wait", evidence + wait.evidence, wait.at, queued=True, wait=wait)


def living_master(host: Host) -> Master:
    """Return the master of a host. Raises ValueError if it has none."""
    if host.master is None:
        msg = f"{host.name} has no master to judge"
        raise ValueError(msg)
    return host.master


def observed_since(host: Host, at: float) -> bool:
    """Report whether the kernel was queried about the connection at `at` (monotonic) or later."""
    return host.doubt.observed is not None and host.doubt.observed.at >= at


def while_stopped(host: Host, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while a process of the connection is suspended and cannot read answers, else None."""
    observed = host.doubt.observed
    if observed is None or not observed.stopped:
        return None
    check_at = observed.at + STOPPED_CHECK_S
    stopped = Wait("stopped", Evidence.of(stopped="yes"))
    evidence = evidence + stopped.evidence
    return Verdict(6, "wait" if now < check_at else "observe", evidence, check_at, queued=True, wait=stopped)


def while_unsent(host: Host, evidence: Evidence, now: float) -> Verdict | None:
    """Return the verdict to wait while ssh still keeps the probe in its own buffer, else None.

    Then nothing reached the network that could be answered, so silence proves nothing. Once ssh sends the probe, the
    data of a dead connection waits for its acknowledgement. The wait is limited to UNSENT_S after the probe.
    """
    probe, observed = host.doubt.probe, host.doubt.observed
    if probe is None or observed is None or not observed.unsent:
        return None
    until = max(probe.sent_at, host.doubt.began_at) + UNSENT_S
    if now >= until:
        return None
    check_at = min(observed.at + UNSENT_CHECK_S, until)
    return Verdict(6, "wait" if now < check_at else "observe", evidence.plus(unsent="yes"), check_at)
