"""Hosts that ask a person: logins at a terminal, and what is never done without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.stories.scenes import CABLE, CAFE, CAFE_2, HOME, NOTHING
from tests.stories.teller import ALWAYS, ON_USE, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Abort, Dial, DialBare, Discard, Kill
from trayagent.core.facts.hosts import Hop, LoginKind, Wish
from trayagent.core.facts.resolved import Resolved

ANSWER = Resolved("web", "203.0.113.10", control_path="/cm/web")


def begins(story: Story, name: str = "web") -> None:
    """Let a person begin to log in."""
    story.post(e.LoginBegun(story.t, name, ANSWER, Hop("203.0.113.10", 22)), "login begun")


def succeeds(story: Story, login: LoginKind = "typed") -> None:
    """Let the person get in, and the new master be put in place."""
    attempt = story.host("web").attempt
    assert attempt is not None
    story.post(
        e.AttemptReady(story.t, "web", attempt.id, story.master("web", ours=True), login),
        f"logged in, {login}",
    )
    story.took_over("web")


def logged_in(story: Story, login: LoginKind = "typed", wish: Wish = ALWAYS) -> None:
    """Begin with a host that a person has just logged in to from home."""
    story.network(HOME)
    story.configured(web=wish)
    story.resolved("web")
    story.started()
    if story.host("web").attempt is not None:
        story.fails("web", "auth", positive=True)
    begins(story)
    succeeds(story, login)
    story.forget()


def test_a_login_at_a_terminal_becomes_the_hosts_master(story: Story) -> None:
    """Refused by itself, begun by a person: nothing else is dialled, and the state is connected."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth", positive=True)
    assert story.shown("web") == "needs-sign-in"
    story.forget()
    begins(story)
    assert story.shown("web") == "connecting"
    story.after(90)
    succeeds(story)
    story.expect("""
        0.000 login begun
                web: row 0 user
        90.000 logged in, typed
                web: row 1 put in place
            take over web #2 pid=101 old=nothing
        90.000 took over web pid=101
                web: row 0 connected
            ensure forwards web
    """)
    assert story.shown("web") == "connected"


def test_after_a_typed_password_a_change_of_network_asks_once_and_dials_never(story: Story) -> None:
    """The way is proven by a knock, the old one ends, one event calls the person, in this place and the next ones."""
    logged_in(story)
    for place in (CAFE, CAFE_2, NOTHING, HOME):
        story.after(60).network(place)
        if story.host("web").attempt is not None:
            story.after(0.1).ready("web", bare=True)
            story.after(0.2).ended("web")
    story.after(7200)
    assert not story.did(Dial)
    assert len(story.did(DialBare)) == 1
    assert len(story.told("sign-in-needed")) == 1 + 1  # the first was the refused login at the start
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "auth-denied")
    begins(story)
    succeeds(story)
    assert story.shown("web") == "connected"


def test_a_login_that_asked_nobody_is_made_again_by_itself(story: Story) -> None:
    """`login` with a key that needed no person, as when only the host key was unknown: recovered like any other."""
    logged_in(story, "quiet")
    story.after(60).network(CAFE)
    assert len(story.did(Dial)) == 1


def test_a_passphrase_that_was_typed_waits_for_a_changed_agent_or_key(story: Story) -> None:
    """Not dialled after the change of network; once, when the ssh-agent is another one."""
    logged_in(story, "unlocked")
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True)
    story.after(0.2).ended("web")
    assert (story.shown("web"), len(story.did(Dial))) == ("needs-sign-in", 0)
    story.post(e.CredentialsChanged(story.t), "another ssh-agent")
    assert len(story.did(Dial)) == 1


def test_the_network_may_change_while_a_person_types(story: Story) -> None:
    """Their attempt is left alone, no second one begins, and theirs decides."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    begins(story)
    story.forget()
    for place in (CAFE, NOTHING, CAFE_2):
        story.after(5).network(place)
    assert not story.actions or not [x for x in story.actions if isinstance(x, (Dial, Abort))]
    succeeds(story)
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("up", [False, True])
def test_who_gives_up_after_the_network_changed_sets_off_nothing(story: Story, up: bool) -> None:
    """Nobody's word is carried out in their place, with a living master or without."""
    if up:
        story.connected(scene=HOME)
        story.after(60)
    else:
        story.network(HOME)
        story.configured(web=ALWAYS)
        story.resolved("web")
        story.started()
        story.fails("web", "auth")
    begins(story)
    attempt = story.host("web").attempt
    assert attempt is not None
    story.forget()
    story.after(5).network(CAFE)
    story.after(1).post(e.LoginGivenUp(story.t, "web", attempt.id), "given up")
    assert not story.host("web").by_user
    assert [x for x in story.did(Dial) if isinstance(x, Dial) and x.purpose == "user"] == []


def test_a_login_that_is_given_up_leaves_everything_as_it_was(story: Story) -> None:
    """Ctrl-C at the prompt: needs-sign-in as before, and no login goes by itself."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    story.forget()
    begins(story)
    attempt = story.host("web").attempt
    assert attempt is not None
    story.after(30).post(e.LoginGivenUp(story.t, "web", attempt.id), "given up")
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "auth-denied")
    story.after(3600)
    assert not story.did(Dial)


def test_a_wrong_password_calls_nobody_who_is_there_already(story: Story) -> None:
    """The one at the terminal reads ssh's own words: connect-failed, no second sign-in-needed."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth", positive=True)
    begins(story)
    story.fails("web", "auth", positive=True)
    assert len(story.told("sign-in-needed")) == 1
    assert len(story.told("connect-failed")) == 2
    assert story.shown("web") == "needs-sign-in"


def test_a_network_that_fails_at_the_terminal_sets_off_no_login(story: Story) -> None:
    """The server was away when the person tried: the refused login is not repeated for that."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    story.forget()
    begins(story)
    story.fails("web", "timed-out")
    story.after(3600)
    assert not story.did(Dial)
    assert story.shown("web") == "needs-sign-in"


def test_a_login_replaces_a_living_master_only_when_it_is_ready(story: Story) -> None:
    """As reconnect does; and a login that fails keeps the old one."""
    story.connected(scene=HOME)
    story.after(60)
    begins(story)
    story.fails("web", "auth", positive=True)
    assert (story.shown("web"), story.did(Kill)) == ("connected", [])
    begins(story)
    succeeds(story)
    assert story.living("web").pid != 101


def test_disconnect_while_a_person_types_wins(story: Story) -> None:
    """The later word counts: what comes of the login is ended."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    begins(story)
    story.post(e.UserDisconnect(story.t, ("web",)), "disconnect")
    story.ready("web")
    assert len(story.did(Discard)) == 1
    assert story.shown("web") == "idle"


def test_a_host_that_nobody_listed_is_known_while_its_login_lasts(story: Story) -> None:
    """Any name that ssh understands; forgotten again when nothing comes of it."""
    story.network(HOME)
    story.configured()
    story.started()
    begins(story)
    story.fails("web", "auth")
    assert "web" not in story.state.hosts
    begins(story)
    succeeds(story)
    assert story.shown("web") == "connected"
    assert story.host("web").wish == Wish()


def test_no_login_begins_where_there_is_no_way(story: Story) -> None:
    """Nothing to type into."""
    story.network(NOTHING)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    begins(story)
    assert story.host("web").attempt is None


def test_hosts_whose_keys_want_a_touch_are_asked_one_after_the_other(story: Story) -> None:
    """Three at once would be three windows, or one blinking key that means three things."""
    touch = Wish(listed=True, connect="always", interactive=True)
    story.network(HOME)
    story.configured(a=touch, b=touch, web=ON_USE)
    story.resolved("a")
    story.resolved("b", server="203.0.113.11")
    story.resolved("web")
    story.started()
    story.post(e.UserReconnect(story.t, ("a", "b", "web")), "reconnect")
    assert [len(story.did(Dial, n)) for n in ("a", "b", "web")] == [1, 0, 1]
    story.after(20)
    assert not story.did(Dial, "b")
    story.ready("a")
    assert len(story.did(Dial, "b")) == 1


def test_reconnect_of_a_password_host_says_that_a_person_is_needed(story: Story) -> None:
    """The user's word goes once, without anybody to ask; what to run stands in the problem."""
    logged_in(story)
    story.post(e.UserReconnect(story.t, ("web",)), "reconnect")
    story.post(
        e.AttemptFailed(story.t, "web", story.host("web").attempt.id, failure("auth", positive=True)),  # type: ignore[union-attr]
        "refused",
    )
    assert story.shown("web") == "connected"
    problem = story.host("web").problem
    assert problem is not None
    assert "trayagent login web" in problem.hint


def test_a_host_that_refused_us_and_let_a_person_in_is_theirs(story: Story) -> None:
    """Refused by itself, then found with somebody's own master: they typed something, so they are needed again."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth", positive=True)
    story.found("web")
    story.forget()
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True)
    story.after(0.2).ended("web")
    story.after(3600)
    assert not story.did(Dial)
    assert story.shown("web") == "needs-sign-in"


def test_reconnect_that_needs_nobody_makes_a_host_quiet_again(story: Story) -> None:
    """A key was installed meanwhile: what went by itself once may do so again."""
    logged_in(story)
    story.post(e.UserReconnect(story.t, ("web",)), "reconnect")
    story.reconnected("web")
    story.after(60).network(CAFE)
    assert len(story.did(Dial)) == 1


def test_behind_a_jump_host_a_knock_there_tells_only_of_an_address_that_is_gone(story: Story) -> None:
    """The jump host answers from the new address: the old connection is over. From the old one it proves nothing."""
    story.connected(scene=HOME, direct=False)
    story.resolved("web", jump="jump", hop=Hop("203.0.113.11", 22))
    host = story.host("web")
    story.state = replace(story.state, hosts={"web": replace(host, login="typed")})
    story.after(60).network(HOME + CABLE)
    story.after(10)
    assert not story.did(DialBare)
    story.network(CAFE)
    assert len(story.did(DialBare)) == 1
    story.after(0.1).ready("web", bare=True)
    story.after(0.3).ended("web")
    assert (story.shown("web"), story.did(Dial)) == ("needs-sign-in", [])
