"""Pauses double, stop at their limit, and never overflow."""

from __future__ import annotations

from trayagent.core.policy.logins.doubling_pause import doubling


def test_a_pause_doubles_to_its_bound() -> None:
    """The pauses are 1 s, 2 s, 4 s … and never exceed the limit."""
    assert [doubling(1.0, n, 300.0) for n in (1, 2, 3, 9, 10)] == [1.0, 2.0, 4.0, 256.0, 300.0]


def test_a_server_may_be_away_for_months() -> None:
    """The hundred-thousandth failure in a row still has a pause, without an overflow."""
    assert doubling(1.0, 100_000, 300.0) == 300.0
