"""Hosts behind a jump host: it comes first, and what it fails by is its own affair."""

from __future__ import annotations

import pytest

from tests.stories.scenes import HOME_6
from tests.stories.teller import ALWAYS, Story
from trayagent.core.actions import Dial
from trayagent.core.hosts import Hop
from trayagent.core.jumps import Jump, parse_jumps

INTERNAL = "10.99.0.10"


def dialled(story: Story, name: str) -> int:
    """Return how many logins were begun."""
    return len(story.did(Dial, name))


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("gate", (Jump("gate"),)),
        ("me@gate:2222", (Jump("gate", "me", 2222),)),
        ("ssh://me@gate:2222", (Jump("gate", "me", 2222),)),
        ("[fd00::1]:2222", (Jump("fd00::1", "", 2222),)),
        ("me@[fd00::1]", (Jump("fd00::1", "me"),)),
        ("a@one:1,two,[fd00::3]:3", (Jump("one", "a", 1), Jump("two"), Jump("fd00::3", "", 3))),
        ("me@example.org@gate", (Jump("gate", "me@example.org"),)),
    ],
)
def test_every_spelling_of_a_jump_host_is_read(text: str, jumps: tuple[Jump, ...]) -> None:
    """As ssh_config(5) has it."""
    assert parse_jumps(text) == jumps


@pytest.mark.parametrize(
    "spelling", ["jump", "me@jump", "jump:2222", "ssh://jump:2222", "[fd00::1]:2222", "outer,me@jump:2222"]
)
def test_the_jump_host_goes_first_however_it_is_spelled(story: Story, spelling: str) -> None:
    """By its alias, or by the address and port that the alias stands for."""
    story.network(HOME_6)
    story.configured(inner=ALWAYS, jump=ALWAYS)
    story.resolved("inner", server=INTERNAL, jump=spelling, hop=Hop("fd00::1", 2222))
    story.resolved("jump", server="fd00::1", port=2222)
    story.started()
    assert dialled(story, "inner") == 0
    story.ready("jump")
    story.took_over("jump")
    assert dialled(story, "inner") == 1
