"""Many hosts with one account: a login that is refused to one of them is not tried by all."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.hosts import Hop

TWELVE = tuple(f"h{n}" for n in range(12))
BASTION = Hop("203.0.113.11", 22, "me", ("~/.ssh/id",))


def behind_a_bastion(story: Story) -> None:
    """Begin with twelve machines behind one bastion that is not a host itself."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for number, name in enumerate(TWELVE):
        story.resolved(name, server=f"10.99.0.{number + 10}", jump="bastion", hop=BASTION)
    story.started()


def on_one_server(story: Story) -> None:
    """Begin with twelve aliases of one machine."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for name in TWELVE:
        story.resolved(name)
    story.started()


def under_way(story: Story) -> list[str]:
    """Return the hosts with a login under way."""
    return [name for name in TWELVE if story.host(name).attempt is not None]


def refuse_all(story: Story, *, by_jump: bool, for_s: float) -> int:
    """Refuse each login as soon as it is made, for some time. Return how many there were."""
    count, until = 0, story.t + for_s
    while story.t < until:
        for name in under_way(story):
            story.fails(name, "auth", positive=not by_jump, by_jump=by_jump)
            count += 1
        story.after(5)
    return count


@pytest.mark.parametrize("by_jump", [True, False])
def test_a_key_that_is_refused_costs_two_logins_whatever_the_number_of_hosts(
    story: Story, by_jump: bool
) -> None:
    """A refused key costs two logins, at a bastion or at a server with twelve names.

    The user is notified at most twice, and every host shows why it waits.
    """
    (behind_a_bastion if by_jump else on_one_server)(story)
    assert refuse_all(story, by_jump=by_jump, for_s=3600) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12
    assert {story.problem(name) for name in TWELVE} == {"auth-denied"}
    assert len(story.told("sign-in-needed")) <= 2


def test_a_refusal_by_one_target_does_not_stop_the_others_behind_the_bastion(story: Story) -> None:
    """A refusal by one of twelve machines does not stop the logins to the other eleven."""
    behind_a_bastion(story)
    for _ in range(12):
        for name in under_way(story):
            if name == "h0":
                story.fails(name, "auth", positive=True)
            else:
                story.reconnected(name)
    assert story.shown("h0") == "needs-sign-in"
    assert [story.shown(name) for name in TWELVE[1:]] == ["connected"] * 11


def test_a_changed_key_releases_one_login_and_its_success_the_others(story: Story) -> None:
    """The event that releases a refused host also releases the hosts that were held back."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(e.CredentialsChanged(story.t), "a key changed")
    assert 1 <= len(under_way(story)) <= 2
    for _ in range(12):
        for name in under_way(story):
            story.reconnected(name)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12


def test_keys_that_change_all_the_time_lock_no_account(story: Story) -> None:
    """Each change releases twelve hosts, but only two logins are refused in ten minutes."""
    on_one_server(story)
    times: list[float] = []
    for _ in range(400):
        for name in under_way(story):
            story.fails(name, "auth", positive=True)
            times.append(story.t)
        story.after(5).post(e.CredentialsChanged(story.t), "a key changed")
    assert all(late - early >= 600 for early, late in zip(times, times[2:], strict=False))


def test_another_user_or_key_is_another_login(story: Story) -> None:
    """A login that is refused to one user does not stop another user on the same machine."""
    story.network(HOME)
    story.configured(web=ALWAYS, root=ALWAYS)
    story.resolved("web", user="me")
    story.resolved("root", user="root")
    story.started()
    story.fails("web", "auth", positive=True)
    story.reconnected("root")
    assert (story.shown("web"), story.shown("root")) == ("needs-sign-in", "connected")


def test_a_reconnect_of_all_costs_no_more_logins(story: Story) -> None:
    """`trayagent reconnect` of twelve hosts with a refused key causes at most two logins."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(e.UserReconnect(story.t, TWELVE), "reconnect")
    assert refuse_all(story, by_jump=False, for_s=60) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12


def test_a_living_master_whose_login_is_held_back_is_judged_without_one(story: Story) -> None:
    """After a move, a master whose account refused another host gets only a bare control."""
    story.connected("web", scene=HOME)
    story.configured(web=ALWAYS, twin=ALWAYS)
    story.resolved("twin")
    story.after(1).fails("twin", "auth", positive=True)
    story.forget()
    story.network(CAFE)
    assert not story.did(Dial, "web")
    attempt = story.host("web").attempt
    assert attempt is not None
    assert attempt.bare
