"""The texts about draining connections."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trayagent.presentation.draining import carried_words, draining_lines
from trayagent.presentation.times import clock

NOW = datetime(2026, 1, 1, 14, 30, tzinfo=UTC)
SINCE = "2026-01-01T13:02:00Z"


@pytest.mark.parametrize(
    ("sessions", "connections", "words"),
    [
        (2, 0, "2 sessions still use the connection made at"),
        (1, 0, "1 session still uses the connection made at"),
        (0, 1, "1 forwarded connection still uses the connection made at"),
        (1, 3, "1 session and 3 forwarded connections still use the connection made at"),
    ],
)
def test_a_line_names_what_goes_on_and_when_its_connection_was_made(
    sessions: int, connections: int, words: str
) -> None:
    """The verb agrees with the number, and the time is that of the old connection."""
    one = {"pid": 1, "since": SINCE, "sessions": sessions, "connections": connections}
    assert [*draining_lines({"draining": [one]}, NOW)] == [f"{words} {clock(SINCE, NOW)}"]


def test_a_connection_without_anything_is_about_to_end() -> None:
    """Without sessions and connections, the text says that the old connection is about to end."""
    one = {"pid": 1, "since": SINCE, "sessions": 0, "connections": 0}
    assert [*draining_lines({"draining": [one]}, NOW)] == [
        f"the connection made at {clock(SINCE, NOW)} is about to end"
    ]
    assert [*draining_lines({}, NOW)] == []
    assert carried_words(0, 0) == ""
