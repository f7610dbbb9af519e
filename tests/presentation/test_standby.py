"""The lines about a host's standby."""

from __future__ import annotations

from typing import get_args

from trayagent.core.policy.spare_route import Obstacle
from trayagent.presentation.standby import no_standby_lines, standby_lines


def test_a_line_shows_a_standby_that_is_ready() -> None:
    """Only a standby that is ready has a line."""
    standby = {"interface": "wlan0", "pid": 7, "ready": True}
    assert [*standby_lines({"standby": standby})] == ["standby on wlan0 ready"]
    assert [*standby_lines({"standby": {**standby, "pid": None, "ready": False}})] == []
    assert [*standby_lines({"standby": None})] == []
    assert [*standby_lines({})] == []


def test_each_reason_has_its_words() -> None:
    """`why` has words for each reason why there is no standby."""
    for code in (*get_args(Obstacle), "refused"):
        (line,) = no_standby_lines({"no_standby": code})
        assert line.startswith("No standby: ")
    assert [*no_standby_lines({"no_standby": None})] == []
    assert [*no_standby_lines({})] == []
