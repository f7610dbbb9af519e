from __future__ import annotations

from typing import get_args

import pytest

from trayagent.core.display_state import NEEDS_USER, DisplayState
from trayagent.presentation import states
from trayagent.presentation.text import clean

STATES = get_args(DisplayState)


def test_every_state_has_a_sign_of_its_own_shape() -> None:
    """In both sets of signs, no two states of a host have the same sign."""
    for signs in (states.SIGNS, states.PLAIN_SIGNS):
        assert len({states.sign(state, signs) for state in STATES}) == len(STATES)
        assert all(len(states.sign(state, signs)) == 1 for state in STATES)


def test_plain_signs_need_no_utf_8() -> None:
    """The plain signs are ASCII, for terminals without UTF-8."""
    assert all(sign.isascii() for sign in states.PLAIN_SIGNS.values())
    assert states.PLAIN_SIGNS.keys() == states.SIGNS.keys()


def test_the_policy_and_the_surfaces_agree_on_who_needs_the_user() -> None:
    """The set of states that need the user equals the core's set.

    It exists twice, because the command line may not import the core.
    """
    assert states.NEEDS_USER == NEEDS_USER


def test_sets_of_states_name_states() -> None:
    """The sets contain only existing states, so a state that is renamed must be renamed here."""
    for named in (states.NOT_WANTED, states.NEEDS_USER, states.WORKING, states.AWAY, states.WORDS.keys()):
        assert named <= set(STATES)


def test_a_state_of_a_newer_agent_is_shown_by_its_name() -> None:
    """A state of a newer agent is shown by its name, because the command line may be older than the agent."""
    assert states.word("dreaming") == "dreaming"
    assert states.sign("dreaming") == "?"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"state": "idle", "held": True, "pid": None}, "disconnected by you"),
        ({"state": "idle", "pid": None}, "idle"),
        ({"state": "paused", "pid": 7}, "paused, still connected"),
        ({"state": "paused", "pid": None}, "paused"),
        ({"state": "needs-vpn", "pid": None}, "needs VPN"),
    ],
)
def test_a_state_is_printed_with_what_the_user_did(host: dict[str, object], words: str) -> None:
    """The words say that the user disconnected the host, or paused it while it is connected."""
    assert states.words_of(host) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé", "plain, ünïcödé"),
        ("two\r\nlines\tand a tab", "two  lines and a tab"),
        ("\x1b]0;title\x07", "\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER}"),
        ("evil\N{RIGHT-TO-LEFT OVERRIDE}txt", "evil\N{REPLACEMENT CHARACTER}txt"),
        ("\udc80", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_text_of_others_cannot_command_a_terminal(text: str, shown: str) -> None:
    """The text stays one line, and replaced characters are visible."""
    assert clean(text) == shown
