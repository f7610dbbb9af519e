"""The lines about the sessions of a host that roams, or that should roam."""

from __future__ import annotations

import pytest

from trayagent.presentation.roaming import roaming_lines


@pytest.mark.parametrize(
    ("host", "lines"),
    [
        ({}, []),
        ({"roaming": None, "no_roaming": None}, []),
        (
            {"roaming": None, "no_roaming": "The server has no python3"},
            ["does not roam: The server has no python3"],
        ),
        ({"roaming": {"attached": True, "sessions": 2}}, []),
        ({"roaming": {"attached": False, "sessions": 1}}, ["1 session waits for the next connection"]),
        ({"roaming": {"attached": False, "sessions": 0}}, ["its sessions wait for the next connection"]),
    ],
)
def test_a_line_says_what_waits_or_why_the_host_does_not_roam(
    host: dict[str, object], lines: list[str]
) -> None:
    """A line shows waiting sessions, or why a host does not roam. Otherwise there is no line."""
    assert [*roaming_lines(host)] == lines
