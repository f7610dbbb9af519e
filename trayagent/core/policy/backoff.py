"""Computes pauses that double up to a limit; pure."""

from __future__ import annotations

_DOUBLINGS_MAX = 32  # beyond every limit; without it, the power overflows a float after some days of failures


def doubling(first_s: float, count: int, longest_s: float) -> float:
    """Return the pause in seconds after the `count`-th failure in a row (1: the first)."""
    return min(first_s * float(2 ** min(max(count - 1, 0), _DOUBLINGS_MAX)), longest_s)
