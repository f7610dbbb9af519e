"""The deadline of one login."""

from __future__ import annotations

import pytest

from trayagent.core.policy.logins.login_deadline import deadline_s, longer_s


@pytest.mark.parametrize(("hops", "expected"), [(0, 30.0), (1, 60.0), (3, 120.0)])
def test_each_machine_on_the_way_adds_its_own_time(hops: int, expected: float) -> None:
    """Each jump host adds the time of its own login to the deadline."""
    assert deadline_s(hops) == expected


def test_a_slow_line_adds_its_round_trips_for_each_machine() -> None:
    """A slow line extends the deadline: a satellite's 600 ms add 9 s, or 18 s behind a jump host."""
    assert longer_s(0, 0.6) == pytest.approx(9.0)
    assert longer_s(1, 0.6) == pytest.approx(18.0)
    assert longer_s(1, 0.0) == 0.0
