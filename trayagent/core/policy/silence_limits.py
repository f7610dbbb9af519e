"""How long a master may stay silent or offline, and which control counts against a silent master; pure."""

from __future__ import annotations

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    END_AFTER_WAKE_S,
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    RETURNED_NEAR_S,
    RTT_OF_NOW_MAX_S,
    SILENT_FLOOR_S,
    SILENT_FLOOR_SOURCE_DIFFERS_S,
    SILENT_RTTS,
    SILENT_RTTS_SOURCE_DIFFERS,
)


def kept_offline_until(since: float, state: State) -> float:
    """Return when a master that has had no route since then is ended (row 2, `keep_while_offline`).

    After a wake, its own network gets time to come back.
    """
    return max(since + state.keep_while_offline_s, state.woke_at + END_AFTER_WAKE_S)


def silent_after_s(master: Master, *, source_differs: bool) -> float:
    """Return how long in seconds a probe may stay unanswered before a control is worth its cost (row 7)."""
    if source_differs:
        return max(SILENT_RTTS_SOURCE_DIFFERS * master.rtt_s, SILENT_FLOOR_SOURCE_DIFFERS_S)
    return patience_s(master)


def patience_s(master: Master) -> float:
    """Return for how many seconds a probe must stay unanswered before its connection may be ended (row 8)."""
    return max(SILENT_RTTS * master.rtt_s, SILENT_FLOOR_S)


def rtt_of_now_s(host: Host, master: Master) -> float:
    """Return the current round trip in seconds, queues included, as far as the kernel reported it."""
    reported = host.doubt.observed.rtt_s if host.doubt.observed is not None else None
    return min(max(master.rtt_s, reported or 0.0), RTT_OF_NOW_MAX_S)


def grace_until(host: Host, now: float) -> float:
    """Return until when a silent master may still answer, its control being positive (row 8)."""
    master, probe = host.master, host.doubt.probe
    if master is None or probe is None:
        return now
    until = max(probe.sent_at, host.doubt.began_at) + patience_s(master)
    due = host.doubt.observed.retransmit_at if host.doubt.observed is not None else None
    if due is not None and retransmission_near(host, now):
        until = max(until, due + RETRANSMISSION_RTTS * rtt_of_now_s(host, master))
    return until


def retransmission_near(host: Host, now: float) -> bool:
    """Report whether the old connection will retransmit so soon that the wait is worth it."""
    due = host.doubt.observed.retransmit_at if host.doubt.observed is not None else None
    if due is None or host.master is None:
        return False
    near_s = max(RETRANSMISSION_NEAR_S, RETRANSMISSION_NEAR_RTTS * rtt_of_now_s(host, host.master))
    return due - now < (max(near_s, RETURNED_NEAR_S) if host.returned else near_s)


def is_positive(control: Attempt, host: Host) -> bool:
    """Report whether the control proves the route: it was answered, and it began after the path last changed."""
    return control.positive_at is not None and is_timely(control, host)


def is_timely(control: Attempt, host: Host) -> bool:
    """Report whether the control began late enough to judge the master's current path.

    If the change was the loss of the master's local address, a control from another address may have begun earlier,
    since the loss does not affect it.
    """
    if control.unwanted:
        return False
    local = host.master.local if host.master is not None else None
    elsewhere = control.source is not None and control.source != local
    return control.started_at >= host.doubt.began_at or (host.doubt.gone_at is not None and elsewhere)
