"""Forwards that are still asked for, and what is said of the far side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.decide import decide
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, EnsureForwards
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState
from trayagent.core.facts.remote_sessions import Reaped

REMOTE = parse("remote", "22221:localhost:22")
LOCAL = parse("local", "8080:localhost:80")


def test_what_is_still_asked_for_is_shown_and_counts_as_no_failure(story: Story) -> None:
    """The local forward is open at once; the remote one has not failed yet, and its pace stays what it was."""
    story.connected(scene=HOME)
    refused = (ForwardState(LOCAL, "open"), ForwardState(REMOTE, "failed", None, "held", refused=True))
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused")
    story.after(1)
    now = (ForwardState(LOCAL, "open"), ForwardState(REMOTE, "opening"))
    story.post(
        e.ForwardsChanged(story.t, "web", story.living("web").pid, now, final=False),
        "the server refused, a session was ended",
    )
    assert story.host("web").forwards == now
    story.after(10)
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused all the same")
    story.after(2)
    story.expect("""
        0.000 refused
        1.000 the time came for web
            ensure forwards web
        1.000 the server refused, a session was ended
        11.000 refused all the same
        13.000 the time came for web
            ensure forwards web
    """)


def test_a_held_forward_is_asked_for_at_a_pace_that_grows_to_a_minute(story: Story) -> None:
    """A server with ClientAlive lets go within minutes, one without within hours: no storm meanwhile."""
    story.connected(scene=HOME)
    refused = (ForwardState(REMOTE, "failed", None, "held", refused=True),)
    pauses = []
    for _ in range(10):
        story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused")
        due = story.host("web").forwards_at
        assert due is not None
        pauses.append(due - story.t)
        story.after(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_the_last_words_of_a_master_that_is_replaced_are_not_told(story: Story) -> None:
    """What it still says of its forwards while it is killed, and after, is about its own end."""
    old = story.connected(scene=HOME)
    cut = (ForwardState(LOCAL, "failed", None, "127.0.0.1:8080 is taken by another program"),)
    story.after(60).network(CAFE)
    story.ready("web")
    story.after(0.3)
    assert old.pid in story.host("web").killing
    story.post(e.ForwardsChanged(story.t, "web", old.pid, cut), "it is being killed")
    story.took_over("web")
    story.post(e.ForwardsChanged(story.t, "web", old.pid, cut), "it is gone")
    assert not story.told("forward-failed")
    assert cut[0] not in story.host("web").forwards


@pytest.mark.parametrize(
    ("outcome", "verdict", "evidence"),
    [
        (Reaped(ended=1, gone=2), "reap", "ended=1 gone=2 elsewhere=0 sockets=0"),
        (Reaped(sockets=1, busy=("/run/b",)), "reap", "ended=0 gone=0 elsewhere=0 sockets=1 busy=/run/b"),
        (Reaped(unavailable="no-shell"), "no-reap", "reason=no-shell"),
    ],
)
def test_why_tells_what_came_of_our_dead_sessions(
    story: Story, outcome: Reaped, verdict: str, evidence: str
) -> None:
    """One reason, with its evidence; it asks for nothing by itself."""
    story.connected(scene=HOME)
    decision = decide(story.state, e.FarSideReaped(story.t, "web", outcome))
    assert [(why.name, why.verdict, why.evidence) for why in decision.whys] == [("web", verdict, evidence)]
    assert not [a for a in decision.actions if type(a).__name__ != "LookAt"]


@pytest.mark.parametrize("hands_off", ["a pause of everything", "never"])
def test_reconnect_goes_through_to_its_forwards(story: Story, hands_off: str) -> None:
    """The new master gets them, and one that fails is asked for again until it is open; then hands off."""
    wish = replace(ALWAYS, forwards=(LOCAL,), connect="never" if hands_off == "never" else "always")
    story.connected(scene=HOME, wish=wish)
    story.connected("db")
    story.after(60)
    if hands_off != "never":
        story.post(e.UserPause(story.t, ()), "pause all")
    story.post(e.UserReconnect(story.t, ("web",)), "reconnect")
    new = story.reconnected()
    assert story.host("web").forwards_at is None  # they were asked for
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "failed"),)), "failed")
    story.after(5)
    assert len(story.did(EnsureForwards)) == 1
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "open"),)), "open")
    story.forget()
    story.configured(web=replace(wish, forwards=()), db=ALWAYS)
    story.after(60)
    assert not story.did(EnsureForwards)
    assert not story.did(Dial, "db")


def test_a_pause_after_a_reconnect_is_the_newer_word(story: Story) -> None:
    """A forward that failed is asked for no more, until it is resumed."""
    story.connected(scene=HOME, wish=replace(ALWAYS, forwards=(LOCAL,)))
    story.after(60).post(e.UserReconnect(story.t, ("web",)), "reconnect")
    new = story.reconnected()
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "failed"),)), "failed")
    story.post(e.UserPause(story.t, ()), "pause all")
    story.after(600)
    assert not story.did(EnsureForwards)
    story.post(e.UserResume(story.t, ()), "resume")
    assert len(story.did(EnsureForwards)) == 1
