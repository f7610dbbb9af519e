"""Decides how long a master may stay silent or offline; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master, Probe
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    END_AFTER_WAKE_S,
    SILENT_FLOOR_S,
    SILENT_FLOOR_SOURCE_DIFFERS_S,
    SILENT_RTTS,
    SILENT_RTTS_SOURCE_DIFFERS,
    UNSENT_S,
)


def kept_offline_until(since: float, state: State) -> float:
    """Return the time at which the agent ends a master that has had no route since `since` (row 2).

    That is `keep_while_offline` after `since`. After a wake, it is at least END_AFTER_WAKE_S later, so that the
    master's network has time to come back.
    """
    return max(since + state.keep_while_offline_s, state.woke_at + END_AFTER_WAKE_S)


def silent_since(host: Host, probe: Probe) -> float:
    """Return since when the silence after an unanswered probe counts (monotonic).

    It does not count before the doubt began. While ssh keeps the probe in its own buffer, it counts only after
    UNSENT_S.
    """
    since = max(probe.sent_at, host.doubt.began_at)
    return since if probe.unsent_at is None else max(since, min(probe.unsent_at, since + UNSENT_S))


def silent_after_s(master: Master, *, source_differs: bool) -> float:
    """Return how long in seconds a probe may stay unanswered before a control is worth its cost (row 7)."""
    if source_differs:
        return max(SILENT_RTTS_SOURCE_DIFFERS * master.rtt_s, SILENT_FLOOR_SOURCE_DIFFERS_S)
    return patience_s(master)


def patience_s(master: Master) -> float:
    """Return for how many seconds a probe must stay unanswered before the master may be ended (row 8)."""
    return max(SILENT_RTTS * master.rtt_s, SILENT_FLOOR_S)
