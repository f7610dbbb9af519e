"""Decides how long to wait for TCP's next retransmission before a silent master counts as stale; pure."""

from __future__ import annotations

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import (
    GRACES,
    GRACES_LOSSY,
    GRACES_UNCHANGED_PATH,
    RETRANSMISSION_NEAR_RTTS,
    RETRANSMISSION_NEAR_S,
    RETRANSMISSION_RTTS,
    RETURNED_NEAR_S,
    RETURNED_USED_S,
    RTT_OF_NOW_MAX_S,
)
from trayagent.core.policy.staleness.silence_limits import patience_s, silent_since


def rtt_of_now_s(host: Host, master: Master) -> float:
    """Return the current round trip in seconds, queues included, as far as the kernel reported it."""
    reported = host.doubt.observed.rtt_s if host.doubt.observed is not None else None
    return min(max(master.rtt_s, reported or 0.0), RTT_OF_NOW_MAX_S)


def grace_until(host: Host, now: float) -> float:
    """Return until when a silent master may still answer after its control succeeded (row 8)."""
    master, probe = host.master, host.doubt.probe
    if master is None or probe is None:
        return now
    until = silent_since(host, probe) + patience_s(master)
    if master.datagrams:  # no kernel knows when their program sends again
        until = max(until, host.doubt.began_at + RETRANSMISSION_NEAR_S)
    due = host.doubt.observed.retransmit_at if host.doubt.observed is not None else None
    if due is not None and retransmission_near(host, now):
        until = max(until, due + RETRANSMISSION_RTTS * rtt_of_now_s(host, master))
    return until


def graces_needed(host: Host, control: Attempt) -> int:
    """Return how many retransmissions a silent master must miss after its control succeeded.

    One is enough if the path changed. If it did not, packets may be lost on the line, as on a bad Wi-Fi. The same is
    true if the control is a spare master, because that shows nothing about the line of the old one.
    """
    if _is_lossy(host):
        return GRACES_LOSSY
    unchanged = host.path_unchanged and not control.bare
    return GRACES_UNCHANGED_PATH if unchanged or _is_on_another_line(host, control) else GRACES


def _is_on_another_line(host: Host, control: Attempt) -> bool:
    """Report whether the control is a spare master, while the old master's own line is up."""
    path = host.path
    return control.standby and path is not None and path.carrier and not path.source_differs


def _is_lossy(host: Host) -> bool:
    """Report whether the control had to send packets again, which shows that the line loses packets now."""
    return host.attempt is not None and host.attempt.ready is not None and host.attempt.ready.lossy


def retransmission_near(host: Host, now: float) -> bool:
    """Report whether the wait for the next retransmission of the old connection is worth it.

    If the path did not change, each packet may have been lost for a while, and the kernel waits ever longer. Then the
    connection may live although its next retransmission is far away, at most two minutes. That is worth the wait if a
    program has a session on it. So is a longer wait for a master that is back on its path.
    """
    observed = host.doubt.observed
    due = observed.retransmit_at if observed is not None else None
    if observed is None or due is None or host.master is None:
        return False
    first = host.attempt is None or host.attempt.graces < GRACES_UNCHANGED_PATH
    if host.path_unchanged and first and not observed.unused:
        return True
    if host.returned and first and not observed.unused and due < host.doubt.changed_at + RETURNED_USED_S:
        return True
    near_s = max(RETRANSMISSION_NEAR_S, RETRANSMISSION_NEAR_RTTS * rtt_of_now_s(host, host.master))
    return due - now < (max(near_s, RETURNED_NEAR_S) if host.returned or _is_lossy(host) else near_s)
