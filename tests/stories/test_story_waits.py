"""The display state of a host that is suspect and must wait."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME, NOTHING
from tests.stories.teller import Story
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.network import Touched
from trayagent.core.facts.user_events import UserReconnect

FLICKER = Touched(links=frozenset({"wlan0"}))


def test_a_host_behind_a_suspect_jump_host_shows_what_it_waits_for(story: Story) -> None:
    """While a jump host's control runs, the hosts behind it show that they wait for the jump host."""
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


def test_an_unnamed_master_that_cannot_be_judged_shows_that(story: Story) -> None:
    """An unnamed master at a private address, away from its network, is shown as waiting, not as checking."""
    story.network(HOME)
    story.configured()
    story.started()
    story.found("nas", unnamed=True, peer="192.168.10.50")
    story.after(60).network(NOTHING)
    story.after(10).network(CAFE)
    story.after(10)
    assert (story.shown("nas"), story.problem("nas")) == ("waiting", "not-here")


def test_a_reconnect_that_waits_beside_a_suspect_master_shows_that(story: Story) -> None:
    """A reconnect that waits for other logins to the same account is shown as waiting, not as checking."""
    names = ("one", "two", "three")
    for name in names:
        story.connected(name, scene=HOME)
    story.after(60).network(HOME, FLICKER)
    story.post(UserReconnect(story.t, names))
    assert [bool(story.did(Dial, name)) for name in names] == [True, True, False]
    assert (story.shown("three"), story.problem("three")) == ("waiting", "rate-limited")
