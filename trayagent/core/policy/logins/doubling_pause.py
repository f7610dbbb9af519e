"""Computes pauses that double up to a limit; pure."""

from __future__ import annotations

_DOUBLINGS_MAX = 32  # more than any pause needs; after days of failures a larger power would overflow a float


def doubling(first_s: float, count: int, longest_s: float) -> float:
    """Return the pause in seconds after the `count`-th failure in a row (1: the first)."""
    return min(first_s * float(2 ** min(max(count - 1, 0), _DOUBLINGS_MAX)), longest_s)
