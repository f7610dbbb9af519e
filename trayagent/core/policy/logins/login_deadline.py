"""Decides how long one login may take; pure."""

from __future__ import annotations

from trayagent.core.facts.time_constants import ATTEMPT_DEADLINE_S, LOGIN_ROUND_TRIPS


def deadline_s(hops: int) -> float:
    """Return how long in seconds a login may take. `hops` machines or commands come before the host."""
    return ATTEMPT_DEADLINE_S * (1 + hops)


def longer_s(hops: int, rtt_s: float) -> float:
    """Return how many seconds more a login may take on a line with this round-trip time."""
    return LOGIN_ROUND_TRIPS * (1 + hops) * rtt_s
