"""Conversions between the two clocks. Decisions use the monotonic clock. Messages and files use the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_text() -> str:
    """Return the current wall-clock time as RFC 3339 in UTC with milliseconds."""
    return text_of(time.time())


def text_of(wall_s: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wall_of(monotonic_s: float) -> str:
    """Return a time of the monotonic clock as RFC 3339, by the present difference between the two clocks."""
    return text_of(time.time() + monotonic_s - time.monotonic())
