"""What a host shows while its connection is in doubt and nothing can be done for it yet."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME, NOTHING
from tests.stories.teller import Story
from trayagent.core.facts.network import Touched

FLICKER = Touched(links=frozenset({"wlan0"}))


def test_a_host_behind_a_jump_host_in_trouble_says_for_what_it_waits(story: Story) -> None:
    """One question settles most doubts; while a control of the jump host runs, those behind it wait for that."""
    jump = story.connected("jump", scene=HOME)
    web = story.connected("web", direct=False, carrier=jump.pid)
    story.connected("db", direct=False, carrier=web.pid)
    story.after(60).network(HOME, FLICKER)
    assert [story.shown(name) for name in ("jump", "web", "db")] == ["checking"] * 3
    story.after(1)
    for name in ("web", "db"):
        assert (story.shown(name), story.problem(name)) == ("waiting", "jump-host-failed")
    story.answered("jump")
    assert story.shown("web") == "checking"
    story.answered("web")
    assert story.shown("web") == "connected"


def test_an_unnamed_master_that_nothing_can_tell_of_says_so(story: Story) -> None:
    """Away from its own network, a private address belongs to anybody: it is shown as waiting, not as checked."""
    story.network(HOME)
    story.configured()
    story.started()
    story.found("nas", unnamed=True, peer="192.168.10.50")
    story.after(60).network(NOTHING)
    story.after(10).network(CAFE)
    story.after(10)
    assert (story.shown("nas"), story.problem("nas")) == ("waiting", "not-here")
