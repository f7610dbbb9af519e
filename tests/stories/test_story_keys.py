"""Key trials: changed keys are tried once beside a living master, and a refusal is reported before that ends."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, NOTHING
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, Story, failure
from trayagent.core.display_state import display_problem
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Abort, Dial, DialBare, Kill, TryKeys
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.network import Touched
from trayagent.core.facts.problems import Problem


def changed(story: Story, *names: str) -> None:
    """Change the keys of these hosts."""
    story.post(user_events.KeysChanged(story.t, names or ("web",)), "keys changed")


def tried(story: Story, name: str = "web") -> int:
    """Return the number of the running trial."""
    number = story.host(name).trial.running
    assert number is not None, "no trial runs"
    return number


def ends(story: Story, verdict: e.TrialVerdict, name: str = "web") -> None:
    """End the trial."""
    said = failure("auth", positive=True) if verdict == "refused" else None
    event = e.TrialEnded(
        story.t, name, tried(story, name), verdict, Evidence.of(outcome="unknown"), said, host_key=HOST_KEY
    )
    story.post(event, f"trial: {verdict}")


def test_a_refusal_is_reported_while_the_old_connection_lives(story: Story) -> None:
    """After a refused trial, the host stays connected, shows the problem, and one event asks for the user."""
    story.connected(scene=HOME)
    story.after(60)
    changed(story)
    story.after(1)
    ends(story, "refused")
    story.expect("""
        60.000 keys changed
                web: row 0 try-keys
            TryKeys web
        61.000 trial: refused
                web: row 0 keys-refused
    """)
    assert story.shown("web") == "connected"
    assert story.problem("web") == "auth-denied"
    assert len(story.told("sign-in-needed")) == 1
    assert not story.did(Kill)


def test_a_login_that_a_trial_saw_refused_is_not_repeated_when_the_connection_ends(story: Story) -> None:
    """After a refused trial, a bare control proves the stale master dead. No second refused login follows."""
    story.connected(scene=HOME)
    story.after(60)
    changed(story)
    ends(story, "refused")
    story.after(60).network(CAFE)
    assert story.did(DialBare)
    story.after(0.3).ready("web", bare=True)
    story.after(1).ended("web", 101)
    assert not story.did(Dial)
    assert story.shown("web") == "needs-sign-in"
    gone = display_problem(story.host("web"), story.state, story.t)
    assert gone == failure("auth").problem, "of an old connection that lives there is no word any more"


def test_a_proof_of_life_does_not_take_the_warning_away(story: Story) -> None:
    """A living old connection proves nothing about the next login, so the warning remains."""
    story.connected(scene=HOME)
    story.after(60)
    changed(story)
    ends(story, "refused")
    story.after(60).post(user_events.UserViewedStatus(story.t), "looked")
    story.answered("web")
    assert story.problem("web") == "auth-denied"


def test_a_later_trial_that_passes_clears_the_warning(story: Story) -> None:
    """A trial that passes with the right key clears the warning."""
    story.connected(scene=HOME)
    story.after(60)
    changed(story)
    ends(story, "refused")
    story.after(5)
    changed(story)
    ends(story, "passed")
    assert story.problem("web") is None
    story.after(60).ended("web", kind="died")
    assert story.did(Dial), "it may log in again"


def test_another_login_tests_the_new_key_too(story: Story) -> None:
    """A login for another reason also tests the new key, so the waiting trial is cancelled."""
    story.connected(scene=HOME)
    story.network(NOTHING)
    changed(story)
    story.after(5).network(CAFE)
    story.after(0.5).ready("web")
    story.took_over("web")
    assert story.host("web").trial.wanted_at is None
    assert not story.did(TryKeys)


@pytest.mark.parametrize("verdict", ["unknown", "skipped"])
def test_a_trial_that_proves_nothing_changes_nothing(story: Story, verdict: e.TrialVerdict) -> None:
    """A trial that fails because of the network, or needs the user, is no refusal and changes nothing."""
    story.connected(scene=HOME)
    changed(story)
    ends(story, verdict)
    assert story.problem("web") is None
    assert story.host("web").retry.kind is None


def test_two_refused_logins_in_ten_minutes_are_all(story: Story) -> None:
    """However often the key changes, two refused logins are the limit. The last change is tried after ten minutes."""
    story.connected(scene=HOME)
    for _ in range(20):
        changed(story)
        if story.host("web").trial.running is not None:
            ends(story, "refused")
        story.after(5)
    assert len(story.did(TryKeys)) == 2
    story.after(600)
    assert len(story.did(TryKeys)) == 3


def test_a_certificate_that_is_renewed_all_the_time_is_tried_six_times_an_hour(story: Story) -> None:
    """Trials are limited to six an hour, because each is a login in the server's log."""
    story.connected(scene=HOME)
    for _ in range(60):
        changed(story)
        if story.host("web").trial.running is not None:
            ends(story, "passed")
        story.after(59)
    assert len(story.did(TryKeys)) == 6


def test_trials_do_not_delay_the_controls_after_a_move(story: Story) -> None:
    """A trial whose path changed ends at once, so the account's hosts need not wait. The keys are tried later."""
    names = ("web", "db", "api")
    for name in names:
        story.connected(name, scene=HOME)
    story.after(60)
    changed(story, *names)
    assert [name for name in names if story.host(name).trial.running is not None] == ["web", "db"]
    story.after(1).network(HOME, Touched(links=frozenset({"wlan0"})))
    assert len(story.did(Abort, "web")) == len(story.did(Abort, "db")) == 1
    story.after(1)
    assert len([name for name in names if story.did(Dial, name)]) == 2, "as many as the account allows"
    for name in names:
        story.answered(name)
    trials = [story.host(name).trial for name in names]
    assert sum(trial.running is not None for trial in trials) == 2
    assert all(trial.running is not None or trial.wanted_at is not None for trial in trials)


def test_a_change_during_a_trial_is_tried_after_it(story: Story) -> None:
    """Trials run one at a time, and a change during a trial gets its own trial."""
    story.connected(scene=HOME)
    changed(story)
    story.after(1)
    changed(story)
    assert len(story.did(TryKeys)) == 1
    ends(story, "passed")
    assert len(story.did(TryKeys)) == 2


@pytest.mark.parametrize(
    "wish",
    [Wish(listed=True, connect="never"), Wish(listed=True, connect="always", interactive=True)],
    ids=["never", "interactive"],
)
def test_no_trial_where_no_login_would_be_automatic(story: Story, wish: Wish) -> None:
    """There is no trial for a "never" host or one that needs the user."""
    story.connected(wish=wish, scene=HOME)
    changed(story)
    story.after(3600)
    assert not story.did(TryKeys)


def test_no_trial_for_a_connection_that_is_only_the_users(story: Story) -> None:
    """Only masters of the agent get a key trial, because the user's own master may have other options."""
    story.connected(scene=HOME)
    story.found("box")
    story.resolved("box")
    changed(story, "box")
    assert not story.did(TryKeys, "box")
    ours = story.host("box")
    assert ours.master is not None
    story.state = replace(
        story.state,
        hosts={**story.state.hosts, "box": replace(ours, master=replace(ours.master, started_by_agent=True))},
    )
    changed(story, "box")
    assert story.did(TryKeys, "box")


def test_a_paused_or_offline_host_is_tried_when_it_is_not_any_more(story: Story) -> None:
    """A trial is made only where a login may be made, so a paused or offline host gets it later."""
    story.connected(wish=ON_USE, scene=HOME)
    story.after(60).post(user_events.UserPause(story.t, ("web",)), "pause")
    changed(story)
    assert not story.did(TryKeys)
    story.after(60).post(user_events.UserResume(story.t, ("web",)), "resume")
    assert len(story.did(TryKeys)) == 1
    ends(story, "passed")
    story.network(NOTHING)
    changed(story)
    story.after(60)
    assert len(story.did(TryKeys)) == 1
    story.network(HOME)
    story.after(0.05).answered("web")
    assert len(story.did(TryKeys)) == 2


def test_a_host_behind_a_jump_host_is_tried_through_the_jump_hosts_connection_only(story: Story) -> None:
    """Without the jump host's connection there is no trial, because the trial would also log in to the jump host."""
    story.connected(scene=HOME)
    story.resolved("web", jump="gate")
    changed(story)
    assert not story.did(TryKeys)
    assert "jump" in story.why("web")
    story.connected("gate", ALWAYS, HOME)
    changed(story)
    assert story.did(TryKeys)


@pytest.mark.parametrize("started_by_agent", [True, False])
def test_the_warning_outlives_the_agent(story: Story, *, started_by_agent: bool) -> None:
    """The warning survives a restart of the agent, whoever started the master. A later login of the user ends it."""
    refusal = e.Refusal("auth", Problem("auth-denied", "web would refuse the next login"))
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.post(e.Remembered(story.t, "web", refused_ago_s=(60.0,), refusal=refusal), "remembered: refused")
    story.resolved("web")
    story.found("web", fresh=False, started_by_agent=started_by_agent, survivor=True)
    story.started()
    story.after(0.05).answered("web")
    assert story.shown("web") == "connected"
    assert story.host("web").login.kind == "quiet", "this login was before the refusal"
    assert story.problem("web") == "auth-denied"
    story.ended("web", by_request=True)
    story.found("web")
    assert story.problem("web") is None


@pytest.mark.parametrize("host_key", [None, "ssh-ed25519 SHA256:somebody"])
@pytest.mark.parametrize("verdict", ["refused", "passed"])
def test_a_trial_at_another_machine_says_nothing_about_the_keys(
    story: Story, verdict: e.TrialVerdict, host_key: str | None
) -> None:
    """A trial at a false server, which refuses or accepts any login, does not change the host and gives no warning.

    The refused login counts for servers with the false server's key.
    """
    story.connected(scene=HOME, strict="no", host_key=HOST_KEY)
    changed(story)
    said = failure("auth", positive=True) if verdict == "refused" else None
    evidence = Evidence.of(outcome="unknown")
    ended = e.TrialEnded(story.t, "web", tried(story), verdict, evidence, said, host_key=host_key)
    story.post(ended, "trial at another machine")
    host = story.host("web")
    assert (story.shown("web"), story.problem("web"), host.retry.kind) == ("connected", None, None)
    assert not story.told("sign-in-needed")
    assert not host.login.refused
    counted = [key for _, key in host.login.refused_elsewhere]
    assert counted == ([host_key] if verdict == "refused" and host_key is not None else [])
