"""Rows 9 to 11: starts the control of a doubted master or waits for it, and judges by its result; pure."""

from __future__ import annotations

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.begin_attempt import control_possible
from trayagent.core.policy.hostname_edited import replaced_by_edit
from trayagent.core.policy.logins.login_waits import Wait, turn_of
from trayagent.core.policy.staleness.host_key_match import proves
from trayagent.core.policy.staleness.verdict import Verdict, control_queued
from trayagent.core.policy.wanted_connection import needs_bare_control


def control_of(host: Host) -> Attempt | None:
    """Return the attempt that is or may become a control. A banner check never does."""
    attempt = host.attempt
    return None if attempt is None or attempt.is_banner_check else attempt


def start_or_await_control(
    host: Host, state: State, admitted: Admission, row: int, evidence: Evidence, now: float
) -> Verdict:
    """Return the verdict to start a control in this row of the table, or to wait for the control or its turn."""
    attempt = control_of(host)
    if attempt is not None and not attempt.unwanted:
        return Verdict(row, "wait", evidence.plus(control="bare" if attempt.bare else "running"))
    if not control_possible(host, admitted):
        return control_queued(11, evidence, Wait("control", Evidence.of(control="impossible")))
    bare = needs_bare_control(host)
    retry = host.bare_retry if bare else host.retry
    if not retry.due(now):
        return Verdict(10, "wait", evidence.plus(control="negative"), check_at=retry.at, queued=True)
    if attempt is not None:  # an unwanted attempt that the agent lets finish
        return control_queued(row, evidence, Wait("server", Evidence.of(control="left_to_finish")))
    wait = turn_of(host, state, admitted, now)
    if wait is not None:
        return control_queued(row, evidence, wait)
    return Verdict(row, "control", evidence.plus(control="bare") if bare else evidence)


def stale_or_wait(host: Host, control: Attempt, evidence: Evidence) -> Verdict:
    """Row 9: return what happens to a master whose control is positive."""
    if control.ready is not None:
        if not proves(host, control.ready.host_key):
            edited = replaced_by_edit(host)
            evidence = evidence.plus(ssh_config="changed") if edited else evidence.plus(host_key="other")
        by = {"standby": control.ready.pid} if control.standby else {}
        return Verdict(9, "replace", evidence.plus(control="ready", **by))
    # A positive control without a new master was refused after the server proved its host key, or it is bare.
    return Verdict(9, "kill", evidence.plus(control="refused" if control.refused else "answered"))
