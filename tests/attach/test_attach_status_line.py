"""The status line of attach: its text for each state, and when keys are held back."""

from __future__ import annotations

from typing import Any

import pytest

from trayagent.attach import status_line
from trayagent.attach.during_session import Doubt


def view(state: str, title: str = "", code: str = "unknown") -> dict[str, Any]:
    """Return the agent's view of one host in a state."""
    problem = {"code": code, "title": title, "hint": "a hint"} if title else None
    return {"hosts": [{"name": "web01", "state": state, "problem": problem}]}


NO = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (None, "web01: no agent is running, 12 s · start it: trayagent run"),
        ({"hosts": []}, "web01: idle 12 s · Enter connects"),
        (view("offline"), "web01: offline 12 s · waiting for wlan0"),
        (view("offline", "No network leads there", "unreachable"), "web01: offline 12 s · waiting for wlan0"),
        (view("offline", "A portal", "captive-portal"), "web01: offline 12 s · A portal"),
        (view("needs-vpn", "VPN corp is down", "vpn-down"), "web01: needs VPN 12 s · VPN corp is down"),
        (view("waiting", "It refuses", "refused"), "web01: waiting 12 s · It refuses · Enter tries now"),
        (view("needs-sign-in", "It asks", "auth-denied"), "web01: needs sign-in 12 s · It asks · Enter signs in"),
        (view("needs-sign-in", "corp asks you", "vpn-needs-sign-in"), "web01: needs sign-in 12 s · corp asks you"),
        (view("failed", "Another key", "host-key-changed"), "web01: failed 12 s · Another key · Enter tries again"),
        (view("paused"), "web01: paused 12 s · continue: trayagent resume web01"),
        (view("idle"), "web01: idle 12 s · Enter connects"),
        (view("connecting"), "web01: connecting 12 s"),
        (view("checking"), "web01: checking 12 s"),
        (view("waiting", "a\x1b]0;b\x07c\n", "unknown"), f"web01: waiting 12 s · a{NO}]0;b{NO}c  · Enter tries now"),
    ],
)  # fmt: skip
def test_each_state_has_its_words(seen: dict[str, Any] | None, line: str) -> None:
    """Each line is short and contains what to do. Control characters in a server's text do not reach the terminal."""
    assert status_line.line("web01", seen, 12.4, "wlan0") == line
    shown = status_line.line("web01", seen, 12.4, "wlan0", enter=False)
    assert "Enter" not in shown
    assert line.startswith(shown)


@pytest.mark.parametrize(
    ("seconds", "said", "tick_s"),
    [
        (0.4, "0 s", 0.6),
        (59.0, "59 s", 1.0),
        (60.0, "1 min", 60.0),
        (3599.0, "59 min", 1.0),
        (7260.0, "2 h 1 min", 60.0),
    ],
)
def test_a_duration_is_true_until_its_next_tick(seconds: float, said: str, tick_s: float) -> None:
    """The text counts seconds first and then minutes, so that a long wait causes few wake-ups."""
    assert status_line.lasted(seconds) == said
    assert status_line.next_tick_s(seconds) == pytest.approx(tick_s)


def test_keys_are_held_while_the_network_is_away_and_only_long_doubt_loses_the_connection() -> None:
    """Keys are held while there is no network. Only a long suspicion with a network counts as a lost connection.

    The story is a list of (seconds, state, route).
    """
    story = [
        (0, "connected", "open"),
        (1, "checking", "open"),
        (2, "connected", "open"),
        (10, "offline", "held"),
        (100, "needs-vpn", "held"),
        (101, "checking", "held"),
        (103, "connecting", "held"),
        (105, "connecting", "lost"),
        (106, "offline", "held"),
        (107, "waiting", "held"),
        (111, "waiting", "lost"),
        (112, "paused", "open"),
        (113, "idle", "open"),
        (114, "connecting", "open"),
        (118, "failed", "lost"),
    ]
    doubt = Doubt()
    for at, state, input_state in story:
        assert doubt.input_state(True, {"state": state}, float(at)) == input_state, at


def test_without_an_agent_the_last_answer_stays() -> None:
    """While the agent restarts, keys stay held or released as before."""
    doubt = Doubt()
    assert doubt.input_state(False, None, 0.0) == "open"
    assert doubt.input_state(True, {"state": "offline"}, 1.0) == "held"
    assert doubt.input_state(False, None, 2.0) == "held"
    assert doubt.input_state(True, {"state": "connected"}, 3.0) == "open"


def test_time_alone_changes_nothing_while_nothing_is_doubted() -> None:
    """A timer runs only while the host is suspect, until the next second or until the suspicion counts as a loss."""
    doubt = Doubt()
    doubt.input_state(True, {"state": "connected"}, 0.0)
    assert doubt.changes_in_s(5.0) is None
    doubt.input_state(True, {"state": "offline"}, 5.25)
    assert doubt.changes_in_s(5.25) == pytest.approx(1.0)
    assert doubt.changes_in_s(7.5) == pytest.approx(0.75)
    doubt.input_state(True, {"state": "checking"}, 8.0)
    assert doubt.changes_in_s(11.9) == pytest.approx(0.1)
