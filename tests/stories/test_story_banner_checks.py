"""A server in a long back-off: an answered banner check allows one login."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import Story
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.failure import FailureKind


def dialled(story: Story, name: str = "web") -> int:
    """Return the number of logins so far."""
    return len(story.did(Dial, name))


def away_for_long(story: Story, kind: FailureKind = "refused", *names: str) -> None:
    """Keep a server away until the next login is minutes away."""
    for name in names or ("web",):
        story.connected(name, scene=HOME, user=name)
    story.after(60)
    for name in names or ("web",):
        story.ended(name, kind="died")
    last = (names or ("web",))[-1]
    while (story.host(last).retry.at or 0) - story.t < 250:
        for name in names or ("web",):
            if story.host(name).attempt is not None:
                story.fails(name, kind)
        story.after(0.5)
    story.forget()
    story.checks.clear()


def test_a_server_that_rebooted_is_found_within_seconds(story: Story) -> None:
    """A rebooted server is found by its banner within seconds, although its back-off is minutes long."""
    away_for_long(story)
    story.after(30)
    assert 1 <= len(story.checks) <= 3
    assert dialled(story) == 0
    assert story.shown("web") == "waiting"
    story.banner = True
    story.after(15.1)
    assert dialled(story) == 1
    story.reconnected()
    assert story.shown("web") == "connected"


def test_a_login_that_fails_alike_leaves_the_full_back_off(story: Story) -> None:
    """If the login after the check fails in the same way, there is no further check until the path changes."""
    away_for_long(story)
    story.banner = True
    story.after(15.1)
    assert dialled(story) == 1
    story.fails("web", "refused")
    story.forget()
    story.checks.clear()
    due = story.host("web").retry.at
    assert due is not None
    assert due > story.t + 200
    story.after(due - story.t - 1)
    assert (dialled(story), story.checks) == (0, [])
    story.network(CAFE)
    assert dialled(story) == 1


def test_a_server_that_drops_us_is_checked_before_its_pause_is_over(story: Story) -> None:
    """A server whose penalty ended early is found by its banner. If it drops that login too, the full pause applies."""
    away_for_long(story, "dropped")
    story.banner = True
    story.after(16)
    assert dialled(story) == 1
    story.fails("web", "dropped")
    story.forget()
    story.after(100)
    assert dialled(story) == 0


def test_a_penalty_that_ends_within_a_minute_is_noticed_soon(story: Story) -> None:
    """The second pause is checked every 10 s until 5 s before its end. The first, short pause is not checked."""
    story.connected(scene=HOME)
    story.after(60).ended("web", kind="died")
    story.fails("web", "dropped")
    story.after(22)
    assert (dialled(story), story.checks) == (2, [])
    story.fails("web", "dropped")
    dropped_at = story.t
    due = story.state.servers[story.host("web").server].budgets[-1].quiet_until
    story.after(due - dropped_at - 1)
    assert [round(at - dropped_at) for at, _ in story.checks] == [10, 20, 30]
    story.banner = True
    story.after(2)
    assert dialled(story) == 3
    story.fails("web", "dropped")
    story.checks.clear()
    story.after(16)
    assert len(story.checks) == 1


def test_many_hosts_check_a_server_no_more_often_than_one(story: Story) -> None:
    """Four hosts share one check every 15 s. Its answer allows one login, whose success releases the others."""
    names = ("web", "b", "c", "d")
    away_for_long(story, "refused", *names)
    story.after(60)
    assert len(story.checks) <= 4
    story.banner = True
    story.after(15.1)
    assert sum(dialled(story, name) for name in names) == 1
    first = next(name for name in names if story.host(name).attempt is not None)
    story.reconnected(first)
    story.after(0)
    assert all(name == first or story.host(name).attempt is not None for name in names)


def test_no_check_follows_a_login_that_another_host_has_just_made(story: Story) -> None:
    """If a host's login is dropped, another host that waited for it checks the banner only 10 s later."""
    names = ("a", "b", "c")
    for name in names:
        story.connected(name, scene=HOME)
    story.after(60).ended("c", kind="died")
    story.fails("c", "dropped")
    for name in ("a", "b"):
        story.ended(name, kind="died")
    story.after(20)
    (begun,) = (name for name in names if story.host(name).attempt is not None)
    story.fails(begun, "dropped")
    dropped_at = story.t
    story.after(15)
    assert [at for at, _ in story.checks] == [dropped_at + 10]


def test_a_control_that_the_server_drops_is_made_once_its_banner_answers(story: Story) -> None:
    """If the server drops the controls of a suspect connection, an answered banner check allows the next control.

    The banner alone decides nothing about the connection. `status` shows the wait, not the check.
    """
    story.connected(scene=HOME)
    story.after(60).network(CAFE)
    while (story.host("web").retry.at or 0) - story.t < 250 and story.t < 3600:
        if story.host("web").attempt is not None:
            story.fails("web", "dropped")
        story.after(0.5)
    story.forget()
    story.checks.clear()
    story.after(30)
    assert 1 <= len(story.checks) <= 3
    assert (dialled(story), story.shown("web"), story.told("master-stale")) == (0, "waiting", [])
    story.banner = True
    story.after(15.1)
    assert dialled(story) == 1
    assert story.told("master-stale") == []
    story.reconnected()
    assert story.shown("web") == "connected"
    assert [tell.name for tell in story.told("master-stale")] == ["web"]
