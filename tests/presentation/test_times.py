from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trayagent.presentation import times

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 ms"),
        (0.412, "412 ms"),
        (1.25, "1.2 s"),
        (10, "10 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (725, "12 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 d"),
        (93600, "1 d 2 h"),
    ],
)
def test_durations_are_short_and_exact_enough(seconds: float, said: str) -> None:
    """A duration is shown in its largest unit. Hours and days are followed by the next smaller unit."""
    assert times.lasted(seconds) == said


def test_an_unknown_time_is_not_printed() -> None:
    """An unknown time gives an empty string, not the epoch."""
    assert times.ago(None, NOW) == times.until(None, NOW) == times.clock(None, NOW) == ""


def test_a_moment_is_a_moment_on_either_side() -> None:
    """A difference of a moment is shown as a moment, even if the clocks differ slightly, and never as "-1 s"."""
    assert times.ago("2026-01-01T12:00:03Z", NOW) == "a moment"
    assert times.until("2026-01-01T11:59:59Z", NOW) == "a moment"
    assert times.until("2026-01-01T12:00:12Z", NOW) == "12 s"
