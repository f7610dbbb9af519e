"""When a new master gets its sentinel while other hosts log in."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.time_constants import SENTINEL_LATEST_S
from trayagent.core.policy.when_to_start_sentinel import sentinel_due_at

WITH_REMOTE = replace(ALWAYS, forwards=(parse("remote", "22221:localhost:22"),))


def due_in(story: Story, name: str) -> float:
    """Return the seconds until the sentinel of this host's master is due, 0 if it is due now."""
    return max(0.0, sentinel_due_at(story.host(name), story.state, story.t) - story.t)


def moved(story: Story) -> None:
    """Move with three hosts: web and mail are connected again, db is still logging in."""
    for name, wish in (("web", ALWAYS), ("mail", WITH_REMOTE), ("db", ALWAYS)):
        story.connected(name, wish, scene=HOME, server=f"203.0.113.{len(name)}", user=name)
    story.after(60)
    story.network(CAFE)
    story.after(0.3)
    story.reconnected("web")
    story.reconnected("mail")


def test_a_sentinel_waits_until_no_other_host_logs_in(story: Story) -> None:
    """After a move, the first hosts get their sentinels once the last host is connected."""
    moved(story)
    assert due_in(story, "web") > 0
    story.after(2)
    assert due_in(story, "web") > 0
    story.reconnected("db")
    assert due_in(story, "web") == due_in(story, "db") == 0


def test_a_login_that_hangs_delays_the_sentinels_of_others_by_10_s(story: Story) -> None:
    """A login that takes half a minute does not leave the other hosts without a sentinel for that long."""
    moved(story)
    assert due_in(story, "web") == SENTINEL_LATEST_S == 10
    story.after(10)
    assert due_in(story, "web") == 0
    assert story.host("db").attempt is not None


def test_the_sentinel_of_a_host_with_a_remote_forward_does_not_wait(story: Story) -> None:
    """The sentinel shows which process on the server holds the port. The next master may have to end that process."""
    moved(story)
    assert due_in(story, "mail") == 0


def test_no_sentinel_waits_for_a_login_at_a_terminal_or_an_unwanted_one(story: Story) -> None:
    """A login at a terminal may take minutes. An attempt that the agent only lets finish needs no help."""
    moved(story)
    attempt = story.host("db").attempt
    assert attempt is not None
    for other in (replace(attempt, at_terminal=True), replace(attempt, unwanted=True)):
        hosts = {**story.state.hosts, "db": replace(story.host("db"), attempt=other)}
        state = replace(story.state, hosts=hosts)
        assert sentinel_due_at(story.host("web"), state, story.t) <= story.t
