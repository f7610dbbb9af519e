"""Decides how long to wait for TCP's next retransmission before a silent master counts as stale; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import (
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    RETURNED_NEAR_S,
    RTT_OF_NOW_MAX_S,
)
from trayagent.core.policy.staleness.silence_limits import patience_s


def rtt_of_now_s(host: Host, master: Master) -> float:
    """Return the current round trip in seconds, queues included, as far as the kernel reported it."""
    reported = host.doubt.observed.rtt_s if host.doubt.observed is not None else None
    return min(max(master.rtt_s, reported or 0.0), RTT_OF_NOW_MAX_S)


def grace_until(host: Host, now: float) -> float:
    """Return until when a silent master may still answer after its control succeeded (row 8)."""
    master, probe = host.master, host.doubt.probe
    if master is None or probe is None:
        return now
    until = max(probe.sent_at, host.doubt.began_at) + patience_s(master)
    if master.datagrams:  # no kernel knows when their program sends again
        until = max(until, host.doubt.began_at + RETRANSMISSION_NEAR_S)
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
