"""Requests for forwards, and the events about the server's dead sessions."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, Scene
from tests.stories.teller import ALWAYS, Story
from trayagent.core.decide import decide
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, EnsureForwards
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState
from trayagent.core.facts.network import Touched
from trayagent.core.facts.remote_sessions import Reaped
from trayagent.core.policy.wanted_connection import wanted_forwards

REMOTE = parse("remote", "22221:localhost:22")
LOCAL = parse("local", "8080:localhost:80")


def test_a_pending_forward_is_shown_and_counts_as_no_failure(story: Story) -> None:
    """An open local forward is shown at once.

    A remote forward's pending request is shown and does not count as a failure.
    """
    story.connected(scene=HOME)
    refused = (ForwardState(LOCAL, "open"), ForwardState(REMOTE, "failed", None, "held", refused=True))
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused")
    story.after(1)
    now = (ForwardState(LOCAL, "open"), ForwardState(REMOTE, "opening"))
    story.post(
        e.ForwardsChanged(story.t, "web", story.living("web").pid, now, final=False),
        "the server refused, a session was ended",
    )
    assert story.host("web").forwards.states == now
    story.after(10)
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused all the same")
    story.after(2)
    story.expect("""
        0.000 refused
                web: row 0 forward-failed
        1.000 the time came for web
            ensure forwards web
        1.000 the server refused, a session was ended
        11.000 refused all the same
        13.000 the time came for web
            ensure forwards web
    """)


def test_the_pause_between_requests_for_a_held_forward_grows_to_a_minute(story: Story) -> None:
    """The pause between requests grows to a minute.

    A server with ClientAlive frees the port within minutes, one without it within hours.
    """
    story.connected(scene=HOME)
    refused = (ForwardState(REMOTE, "failed", None, "held", refused=True),)
    pauses = []
    for _ in range(10):
        story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, refused), "refused")
        due = story.host("web").forwards.retry_at
        assert due is not None
        pauses.append(due - story.t)
        story.after(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_the_last_reports_of_a_master_that_is_replaced_are_ignored(story: Story) -> None:
    """A replaced master's last reports about its forwards are ignored, because its own end causes them."""
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
    assert cut[0] not in story.host("web").forwards.states


@pytest.mark.parametrize(
    ("outcome", "verdict", "evidence"),
    [
        (Reaped(ended=1, gone=2), "reap", "ended=1 gone=2 elsewhere=0 sockets=0"),
        (Reaped(sockets=1, busy=("/run/b",)), "reap", "ended=0 gone=0 elsewhere=0 sockets=1 busy=/run/b"),
        (Reaped(unavailable="no-shell"), "no-reap", "reason=no-shell"),
    ],
)
def test_why_shows_what_became_of_our_dead_sessions(
    story: Story, outcome: Reaped, verdict: str, evidence: str
) -> None:
    """`why` has one reason with its evidence, and the clean-up causes no further action."""
    story.connected(scene=HOME)
    decision = decide(story.state, e.RemoteCleanedUp(story.t, "web", outcome))
    assert [(why.name, why.verdict, str(why.evidence)) for why in decision.whys] == [
        ("web", verdict, evidence)
    ]
    assert not [a for a in decision.actions if type(a).__name__ != "SetTimer"]


@pytest.mark.parametrize("hands_off", ["a pause of everything", "never"])
def test_reconnect_goes_through_to_its_forwards(story: Story, hands_off: str) -> None:
    """After a reconnect, the agent requests the forwards until they are open, even if the host is paused or "never"."""
    wish = replace(ALWAYS, forwards=(LOCAL,), connect="never" if hands_off == "never" else "always")
    story.connected(scene=HOME, wish=wish)
    story.connected("db")
    story.after(60)
    if hands_off != "never":
        story.post(user_events.UserPause(story.t, ()), "pause all")
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    new = story.reconnected()
    assert not story.host("web").forwards.due(inf)  # the agent has requested the forwards
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "failed"),)), "failed")
    story.after(5)
    assert len(story.did(EnsureForwards)) == 1
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "open"),)), "open")
    story.forget()
    story.configured(web=replace(wish, forwards=()), db=ALWAYS)
    story.after(60)
    assert not story.did(EnsureForwards)
    assert not story.did(Dial, "db")


def test_a_pause_after_a_reconnect_wins(story: Story) -> None:
    """A pause after a reconnect stops the requests for a failed forward until the user resumes."""
    story.connected(scene=HOME, wish=replace(ALWAYS, forwards=(LOCAL,)))
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    new = story.reconnected()
    story.post(e.ForwardsChanged(story.t, "web", new.pid, (ForwardState(LOCAL, "failed"),)), "failed")
    story.post(user_events.UserPause(story.t, ()), "pause all")
    story.after(600)
    assert not story.did(EnsureForwards)
    story.post(user_events.UserResume(story.t, ()), "resume")
    assert len(story.did(EnsureForwards)) == 1


def test_a_request_that_waits_for_proof_survives_the_end_of_a_round(story: Story) -> None:
    """A forward that is added while the master is suspect is requested after the proof of life.

    A round of requests that ends meanwhile does not contain this forward.
    """
    story.connected(scene=HOME)
    story.network(HOME, Touched(links=frozenset({"wlan0"})))
    assert story.host("web").suspect
    story.configured(web=replace(ALWAYS, forwards=(LOCAL,)))
    assert not story.did(EnsureForwards)
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, ()), "a round ended")
    story.after(0.1).answered("web")
    assert len(story.did(EnsureForwards)) == 1


def found_by_hand(story: Story) -> None:
    """Connect a host, and report a forward that the user gave to its master."""
    story.connected(scene=HOME)
    opened = (ForwardState(LOCAL, "open", "127.0.0.1:8080"),)
    story.post(e.HandForwardsFound(story.t, "web", story.living("web").pid, opened), "found by hand")


def moved(story: Story, scene: Scene = CAFE) -> None:
    """Move to another network, and let a new master take over."""
    story.after(60).network(scene)
    story.ready("web")
    story.after(0.3)
    story.took_over("web")


def test_a_forward_that_was_given_by_hand_comes_back(story: Story) -> None:
    """The next master gets a forward that was given by hand, until the user cancels the forward."""
    found_by_hand(story)
    assert story.told("forward-found")
    old = story.living("web").pid
    moved(story)
    assert wanted_forwards(story.host("web")) == (LOCAL,)
    assert story.did(EnsureForwards)
    story.post(
        e.HandForwardsFound(story.t, "web", old, closed=(LOCAL,)), "the agent closed it on the old one"
    )
    assert story.host("web").forwards.by_hand == (LOCAL,)
    new = story.living("web").pid
    story.post(e.ForwardsChanged(story.t, "web", new, (ForwardState(LOCAL, "open"),)), "open")
    story.post(e.HandForwardsFound(story.t, "web", new, closed=(LOCAL,)), "canceled")
    assert not story.host("web").forwards.by_hand
    assert not story.host("web").forwards.states


def test_requests_that_began_before_a_forward_was_found_do_not_hide_it(story: Story) -> None:
    """The agent's own requests for the adopted master began earlier. Their result does not mention the forward."""
    found_by_hand(story)
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, ()), "no forward is configured")
    assert [f.forward for f in story.host("web").forwards.states] == [LOCAL]


def test_a_forward_that_was_given_by_hand_is_given_up_for_another_program(story: Story) -> None:
    """If another program has the port after the move, the forward is reported once and not requested again."""
    found_by_hand(story)
    moved(story)
    taken = (ForwardState(LOCAL, "failed", None, "taken by another program", taken=True),)
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, taken), "taken")
    assert story.told("forward-failed")
    assert not story.host("web").forwards.by_hand
    story.forget()
    story.after(600)
    assert not story.did(EnsureForwards)


def test_a_forward_that_was_given_by_hand_ends_with_the_wish_for_its_host(story: Story) -> None:
    """`disconnect` drops a forward that was given by hand. If the configuration lists it, the configuration decides."""
    found_by_hand(story)
    story.configured(web=replace(ALWAYS, forwards=(LOCAL,)))
    assert not story.host("web").forwards.by_hand
    story.configured(web=ALWAYS)
    assert not wanted_forwards(story.host("web"))
    opened = (ForwardState(REMOTE, "open"),)
    story.post(e.HandForwardsFound(story.t, "web", story.living("web").pid, opened), "found by hand")
    assert story.host("web").forwards.by_hand == (REMOTE,)
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    story.ended("web")
    assert not story.host("web").forwards.by_hand


def test_a_port_with_an_unknown_target_is_named_once(story: Story) -> None:
    """The event about a port with an unknown target is sent once per master.

    `status` shows the port while the master lives. After a move, one event and `status` say that it ended.
    """
    story.connected(scene=HOME)
    pid = story.living("web").pid
    for _ in range(2):
        story.post(e.HandForwardsFound(story.t, "web", pid, unknown=("127.0.0.1:9005",)), "a port")
    assert len(story.told("forward-unknown")) == 1
    moved(story)
    forwards = story.host("web").forwards
    assert (forwards.unknown, forwards.ended) == ((), ("127.0.0.1:9005",))
    assert [told.details["listen"] for told in story.told("forward-ended")] == ["127.0.0.1:9005"]
    moved(story, HOME)
    assert not story.host("web").forwards.ended
    assert len(story.told("forward-ended")) == 1


def test_an_old_record_removes_no_forward_of_a_living_master(story: Story) -> None:
    """If two scans find a master at once, the record that the second one read does not remove its forwards by hand."""
    story.scene = HOME
    story.configured()
    story.started()
    master = story.found("web")
    opened = (ForwardState(LOCAL, "open"),)
    story.post(e.HandForwardsFound(story.t, "web", master.pid, opened), "found by hand")
    story.post(e.Remembered(story.t, "web"), "the record from before")
    assert story.host("web").forwards.by_hand == (LOCAL,)
