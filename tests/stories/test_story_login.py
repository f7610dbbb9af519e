"""Hosts that need the user: logins at a terminal, and no automatic login."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CABLE, CAFE, CAFE_2, HOME, NOTHING
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Abort, Dial, DialBare, Discard, Kill, TryKeys
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Hop, LoginKind, Wish
from trayagent.core.facts.resolved import Resolved

ANSWER = Resolved("web", "203.0.113.10", control_path="/cm/web")


def begins(story: Story, name: str = "web") -> None:
    """Let the user begin to log in."""
    story.post(user_events.LoginBegun(story.t, name, ANSWER, Hop("203.0.113.10", 22)), "login begun")


def succeeds(story: Story, login: LoginKind = "typed") -> None:
    """Let the login succeed, and the new master take over."""
    attempt = story.host("web").attempt
    assert attempt is not None
    story.old_answers("web")
    story.post(
        e.AttemptReady(story.t, "web", attempt.id, story.master("web", started_by_agent=True), login),
        f"logged in, {login}",
    )
    story.took_over("web")


def logged_in(story: Story, login: LoginKind = "typed", wish: Wish = ALWAYS) -> None:
    """Begin with a host to which the user has just logged in from home."""
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
    """After a refused automatic login, the user's login becomes the host's master without another attempt."""
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


def test_after_a_typed_password_a_move_notifies_once_and_dials_never(story: Story) -> None:
    """After a typed password, a move ends the stale master by a bare control and notifies the user once.

    No login follows on this network or the next ones.
    """
    logged_in(story)
    for scene in (CAFE, CAFE_2, NOTHING, HOME):
        story.after(60).network(scene)
        if story.host("web").attempt is not None:
            story.after(0.1).ready("web", bare=True)
            story.after(0.2).ended("web")
    story.after(7200)
    assert not story.did(Dial)
    assert len(story.did(DialBare)) == 1
    # the first event came from the refused login at the start
    assert len(story.told("sign-in-needed")) == 1 + 1
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "auth-denied")
    begins(story)
    succeeds(story)
    assert story.shown("web") == "connected"


def test_a_login_without_the_user_is_repeated_automatically(story: Story) -> None:
    """After `login` with a key that needed no user, the host is recovered automatically."""
    logged_in(story, "quiet")
    story.after(60).network(CAFE)
    assert len(story.did(Dial)) == 1


def test_a_passphrase_that_was_typed_waits_for_a_changed_agent_or_key(story: Story) -> None:
    """After a typed passphrase, a move causes no login. A changed ssh-agent causes one."""
    logged_in(story, "unlocked")
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True)
    story.after(0.2).ended("web")
    assert (story.shown("web"), len(story.did(Dial))) == ("needs-sign-in", 0)
    story.post(user_events.CredentialsChanged(story.t), "another ssh-agent")
    assert len(story.did(Dial)) == 1


def test_the_network_may_change_while_the_user_types(story: Story) -> None:
    """If the network changes while the user is at a prompt, the login continues, and no second attempt begins."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    begins(story)
    story.forget()
    for scene in (CAFE, NOTHING, CAFE_2):
        story.after(5).network(scene)
    assert not story.actions or not [x for x in story.actions if isinstance(x, (Dial, Abort))]
    succeeds(story)
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("up", [False, True])
def test_giving_up_after_the_network_changed_causes_no_attempt(story: Story, up: bool) -> None:
    """Giving up a login after a move causes no attempt, with or without a living master."""
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
    story.after(1).post(user_events.LoginGivenUp(story.t, "web", attempt.id), "given up")
    assert not story.host("web").by_user
    assert [x for x in story.did(Dial) if isinstance(x, Dial) and x.purpose == "user"] == []


def test_a_login_that_is_given_up_leaves_everything_as_it_was(story: Story) -> None:
    """After Ctrl-C at the prompt, the host is still `needs-sign-in`, and no automatic login follows."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    story.forget()
    begins(story)
    attempt = story.host("web").attempt
    assert attempt is not None
    story.after(30).post(user_events.LoginGivenUp(story.t, "web", attempt.id), "given up")
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "auth-denied")
    story.after(3600)
    assert not story.did(Dial)


def test_a_wrong_password_does_not_notify_a_user_at_the_terminal(story: Story) -> None:
    """A wrong password at the terminal sends connect-failed, but no second sign-in-needed."""
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


def test_a_network_that_fails_at_the_terminal_causes_no_login(story: Story) -> None:
    """If the server is away during a login at a terminal, the refused login is not repeated."""
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
    """The user's login replaces a living master only when it is ready. If it fails, the old one stays."""
    story.connected(scene=HOME)
    story.after(60)
    begins(story)
    story.fails("web", "auth", positive=True)
    assert (story.shown("web"), story.did(Kill)) == ("connected", [])
    begins(story)
    succeeds(story)
    assert story.living("web").pid != 101


def test_disconnect_while_the_user_types_wins(story: Story) -> None:
    """A disconnect during a login wins, and the new master is ended."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    begins(story)
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    story.ready("web")
    assert len(story.did(Discard)) == 1
    assert story.shown("web") == "idle"


def test_an_unlisted_host_exists_while_its_login_lasts(story: Story) -> None:
    """A name that is not in the configuration is a host while its login lasts, and is forgotten if the login fails."""
    story.network(HOME)
    story.configured()
    story.started()
    begins(story)
    story.fails("web", "auth")
    assert "web" not in story.state.hosts
    begins(story)
    story.fails("web", "dns")
    assert "web" not in story.state.hosts
    assert [dict(told.details)["missed"] for told in story.told("connect-failed")] == [False, False]
    begins(story)
    succeeds(story)
    assert story.shown("web") == "connected"
    assert story.host("web").wish == Wish()


def test_no_login_begins_without_a_route(story: Story) -> None:
    """Without a network, no login begins."""
    story.network(NOTHING)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    begins(story)
    assert story.host("web").attempt is None


def test_hosts_whose_keys_want_a_touch_log_in_one_after_the_other(story: Story) -> None:
    """Hosts that need a touch log in one after the other, so that there is one window or blinking key at a time."""
    touch = Wish(listed=True, connect="always", interactive=True)
    story.network(HOME)
    story.configured(a=touch, b=touch, web=ON_USE)
    story.resolved("a")
    story.resolved("b", server="203.0.113.11")
    story.resolved("web")
    story.started()
    story.post(user_events.UserReconnect(story.t, ("a", "b", "web")), "reconnect")
    assert [len(story.did(Dial, n)) for n in ("a", "b", "web")] == [1, 0, 1]
    story.after(20)
    assert not story.did(Dial, "b")
    story.ready("a")
    assert len(story.did(Dial, "b")) == 1


def test_reconnect_of_a_password_host_says_that_the_user_is_needed(story: Story) -> None:
    """A reconnect of a password host makes one attempt, and the problem says what to run."""
    logged_in(story)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.post(
        e.AttemptFailed(story.t, "web", story.host("web").attempt.id, failure("auth", positive=True)),  # type: ignore[union-attr]
        "refused",
    )
    assert story.shown("web") == "connected"
    problem = story.host("web").problem
    assert problem is not None
    assert "trayagent login web" in problem.hint


def helped(story: Story) -> int:
    """Begin with a host that refused a login and to which the user then connected. Return the number of the trial."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth", positive=True)
    story.after(30).found("web")
    story.after(1)
    (trial,) = story.did(TryKeys)
    assert isinstance(trial, TryKeys)
    story.forget()
    return trial.attempt


def trial_ends(story: Story, trial: int, verdict: e.TrialVerdict) -> None:
    """End a trial with a proven host key."""
    said = failure("auth", positive=True) if verdict == "refused" else None
    event = e.TrialEnded(
        story.t, "web", trial, verdict, Evidence.of(outcome="unknown"), said, host_key=HOST_KEY
    )
    story.post(event, f"trial: {verdict}")


def test_a_host_that_refused_us_before_and_after_the_users_login_needs_the_user(story: Story) -> None:
    """After a refusal and a connection by hand, one refused trial shows that the host needs the user.

    The user is not notified again. No login follows, on this network or the next one.
    """
    trial_ends(story, helped(story), "refused")
    assert (story.shown("web"), story.problem("web")) == ("connected", None)
    assert len(story.told("sign-in-needed")) == 1  # the event of the first refusal
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True)
    story.after(0.2).ended("web")
    story.after(3600)
    assert not story.did(Dial)
    assert story.shown("web") == "needs-sign-in"


def test_a_refusal_that_has_passed_says_nothing_about_the_user(story: Story) -> None:
    """If the trial passes, the earlier refusal was temporary, so the host is recovered automatically."""
    trial_ends(story, helped(story), "passed")
    story.after(60).network(CAFE)
    assert len(story.did(Dial)) == 1
    story.ready("web")
    story.after(1).took_over("web")
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("refused", [False, True])
def test_a_move_during_the_trial_makes_one_login(story: Story, *, refused: bool) -> None:
    """If the network changes before the trial ends, one login shows whether the host needs the user."""
    helped(story)
    story.after(0.1).network(CAFE)
    assert len(story.did(Dial)) == 1
    if not refused:
        story.ready("web")
        story.after(1).took_over("web")
        assert (story.host("web").login.kind, story.host("web").login.helped) == ("quiet", False)
        return
    story.after(0.1).fails("web", "auth", positive=True)
    story.after(0.5).ended("web")
    story.forget()
    for scene in (CAFE_2, HOME):
        story.after(3600).network(scene)
    assert not story.did(Dial)
    assert (story.shown("web"), story.host("web").login.kind) == ("needs-sign-in", "typed")


def test_reconnect_without_the_user_makes_a_host_automatic_again(story: Story) -> None:
    """After a reconnect without the user's help, the host is recovered automatically again."""
    logged_in(story)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.reconnected("web")
    story.after(60).network(CAFE)
    assert len(story.did(Dial)) == 1


def test_a_banner_check_of_the_jump_host_counts_only_if_the_address_is_gone(story: Story) -> None:
    """A bare control at the jump host proves a master stale only if the master's address is gone."""
    story.connected(scene=HOME, direct=False)
    story.resolved("web", jump="jump", hop=Hop("203.0.113.11", 22))
    host = story.host("web")
    story.state = replace(story.state, hosts={"web": replace(host, login=replace(host.login, kind="typed"))})
    story.after(60).network(HOME + CABLE)
    story.after(10)
    assert not story.did(DialBare)
    story.network(CAFE)
    assert len(story.did(DialBare)) == 1
    story.after(0.1).ready("web", bare=True)
    story.after(0.3).ended("web")
    assert (story.shown("web"), story.did(Dial)) == ("needs-sign-in", [])
