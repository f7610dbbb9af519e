"""Many hosts and one account: what was refused to one of them is not tried by all."""

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
    """Begin with twelve machines behind one bastion that is no host of its own."""
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
    """Let each login be refused as soon as it is made, for some time; return how many that were."""
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
    """At a bastion, or at a server with twelve names; it is told once, and every host says why it waits."""
    (behind_a_bastion if by_jump else on_one_server)(story)
    assert refuse_all(story, by_jump=by_jump, for_s=3600) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12
    assert {story.problem(name) for name in TWELVE} == {"auth-denied"}
    assert len(story.told("sign-in-needed")) <= 2


def test_a_refusal_of_one_target_says_nothing_of_the_others_behind_the_bastion(story: Story) -> None:
    """Twelve machines have twelve accounts."""
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
    """The event that releases a refused host releases those that were held back."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(e.CredentialsChanged(story.t), "a key changed")
    assert 1 <= len(under_way(story)) <= 2
    for _ in range(12):
        for name in under_way(story):
            story.reconnected(name)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12


def test_keys_that_change_all_the_time_lock_no_account(story: Story) -> None:
    """Each change re-arms twelve hosts; two logins are refused in ten minutes."""
    on_one_server(story)
    times: list[float] = []
    for _ in range(400):
        for name in under_way(story):
            story.fails(name, "auth", positive=True)
            times.append(story.t)
        story.after(5).post(e.CredentialsChanged(story.t), "a key changed")
    assert all(late - early >= 600 for early, late in zip(times, times[2:], strict=False))


def test_another_user_or_key_is_another_login(story: Story) -> None:
    """What is refused to one user says nothing of another on the same machine."""
    story.network(HOME)
    story.configured(web=ALWAYS, root=ALWAYS)
    story.resolved("web", user="me")
    story.resolved("root", user="root")
    story.started()
    story.fails("web", "auth", positive=True)
    story.reconnected("root")
    assert (story.shown("web"), story.shown("root")) == ("needs-sign-in", "connected")


def test_the_users_word_for_all_costs_no_more_logins(story: Story) -> None:
    """`trayagent reconnect` of twelve hosts whose key is refused asks the server twice at most."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(e.UserReconnect(story.t, TWELVE), "reconnect")
    assert refuse_all(story, by_jump=False, for_s=60) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12


def test_a_living_master_whose_login_is_held_back_is_judged_without_one(story: Story) -> None:
    """Its account refused another host; after a move the server is only knocked at."""
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
