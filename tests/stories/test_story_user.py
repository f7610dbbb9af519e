"""The user's requests, and masters that the user started."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, NOTHING, OFFICE
from tests.stories.teller import ALWAYS, ON_USE, Story, failure
from trayagent.core.display_state import unreachable_problem
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import (
    Dial,
    DialBare,
    EnsureForwards,
    Kill,
    Remember,
    Resolve,
    SendProbe,
    TakeOver,
)
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.network import Touched


def test_reconnect_keeps_the_old_one_until_the_new_one_is_ready(story: Story) -> None:
    """A reconnect replaces the old master when the new one is ready, even if the old one is healthy."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).answered("web")
    story.after(0.7).ready("web")
    story.took_over("web")
    story.expect("""
        60.000 reconnect
                web: row 0 user
                web: row 0 dial
            dial web #1 user
            probe web pid=101
        60.100 probe of web answered
        60.800 attempt of web ready pid=102
                web: row 0 replace
            take over web #1 pid=102 old=101 drains
        60.800 took over web pid=102
                web: row 0 connected
            ensure forwards web
    """)


@pytest.mark.parametrize("positive", [True, False])
def test_a_reconnect_that_fails_keeps_the_old_one(story: Story, positive: bool) -> None:
    """If a reconnect is refused or times out, the old connection stays, and the request is complete."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.fails("web", "auth" if positive else "timed-out", positive=positive)
    assert story.shown("web") == "connected"
    assert not story.did(Kill)
    assert story.host("web").attempt is None
    assert not story.host("web").user.reconnect


def test_a_reconnect_without_a_route_fails_at_once(story: Story) -> None:
    """A reconnect without a route fails at once, so that the user does not wait at the prompt."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    assert not story.host("web").user.reconnect
    assert story.problem("web") == "unreachable"


def test_a_reconnect_takes_a_running_control_over(story: Story) -> None:
    """A reconnect uses the control that is already running."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.3).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.ready("web", local="172.20.0.5")
    story.after(0.5)
    assert len(story.did(Dial)) == 1
    assert len(story.did(TakeOver)) == 1


def test_disconnect_holds_across_a_restart(story: Story) -> None:
    """A disconnect is still in effect after a restart, because the agent stores it before it carries it out."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    story.ended("web", 101)
    story.expect("""
        60.000 disconnect
                web: row 0 user
            kill web pid=101 gently
        60.000 ended web pid=101
    """)
    assert story.did(Remember)
    later = Story()
    later.network(HOME)
    later.configured(web=ALWAYS)
    later.post(e.Remembered(later.t, "web", held=True), "remembered: held")
    later.resolved("web")
    later.started()
    later.after(3600)
    assert not later.did(Dial)
    assert later.shown("web") == "idle"


def test_a_host_whose_master_died_while_no_agent_ran_is_recovered(story: Story) -> None:
    """A host whose master died while no agent ran is recovered, whether it is on-use or not listed."""
    story.network(HOME)
    story.configured(web=ON_USE)
    for name in ("web", "other"):
        story.post(e.Remembered(story.t, name, lost=True), f"remembered: {name} was lost")
    assert story.did(Resolve, "other")  # otherwise the agent would not resolve a host that is not listed
    for name in ("web", "other"):
        story.resolved(name, user=name)
    story.started()
    assert story.did(Dial, "web")
    assert story.did(Dial, "other")


def test_a_held_host_whose_master_died_meanwhile_stays_held(story: Story) -> None:
    """A host that the user disconnected stays down, even if its master died while no agent ran."""
    story.network(HOME)
    story.configured(web=ON_USE)
    story.post(e.Remembered(story.t, "web", held=True, lost=True), "remembered: held")
    story.resolved("web")
    story.started()
    story.after(3600)
    assert not story.did(Dial)


def test_a_disconnect_during_a_take_over_is_not_lost(story: Story) -> None:
    """A disconnect during a take-over ends the new master as soon as it is in place."""
    story.connected(scene=HOME)
    story.after(60).network(CAFE)
    story.after(0.8).ready("web")
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    story.took_over("web")
    assert [kill for kill in story.did(Kill) if kill.master.pid == 102]  # type: ignore[attr-defined]
    story.ended("web")
    story.after(60)
    assert story.shown("web") == "idle"


def test_the_users_own_ssh_ends_a_disconnect(story: Story) -> None:
    """`ssh web` by hand ends an earlier disconnect."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    story.ended("web", 101)
    story.after(60).found("web")
    assert not story.host("web").user.held
    assert story.shown("web") == "connected"


def test_ssh_o_exit_is_remembered(story: Story) -> None:
    """`ssh -O exit` is stored for the next agent, as a disconnect is."""
    story.connected(scene=HOME)
    story.after(60)
    story.actions.clear()
    story.ended("web", by_request=True)
    assert story.did(Remember)


def test_nothing_paused_is_touched(story: Story) -> None:
    """A paused host gets no probe, no login, no kill and no forward, whatever happens."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserPause(story.t, ("web",)), "pause")
    story.actions.clear()
    story.network(CAFE)
    story.after(60).post(e.Woke(story.t), "woke")
    story.configured(web=Wish(listed=True, connect="always", forwards=(parse("local", "8080:localhost:80"),)))
    story.after(3600).ended("web")
    story.after(3600)
    touching = (Dial, Kill, SendProbe, TakeOver, EnsureForwards)
    assert not [x for x in story.actions if isinstance(x, touching)]
    assert story.shown("web") == "paused"
    story.forget()
    story.post(user_events.UserResume(story.t, ("web",)), "resume")
    story.expect("""
        7320.000 resume
                web: row 1 dial
            dial web #1 connect
    """)


def test_a_pause_ends_automatically(story: Story) -> None:
    """A pause of thirty minutes ends automatically."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserPause(story.t, (), 1800.0), "pause all")
    story.network(CAFE)
    story.after(1799)
    story.forget()
    story.after(2)
    story.expect("""
        1860.000 the time came for web
                web: row 4 control
                web: row 4 dial
            dial web #1 control
    """)


def test_a_pause_ends_the_attempt_under_way(story: Story) -> None:
    """A pause ends a running attempt, even one that the user requested."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).post(user_events.UserPause(story.t, ()), "pause all")
    story.expect("""
        60.000 reconnect
                web: row 0 user
                web: row 0 dial
            dial web #1 user
            probe web pid=101
        60.100 pause all
            abort web #1
    """)
    assert story.state.paused_until == inf


def test_reconnect_goes_through_a_general_pause(story: Story) -> None:
    """A reconnect of one host is carried out during a pause of all. The other hosts stay paused."""
    story.connected(scene=HOME)
    story.connected("db")
    story.after(60).post(user_events.UserPause(story.t, ()), "pause all")
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    assert len(story.did(Dial)) == 1
    assert not story.did(Dial, "db")


@pytest.mark.parametrize("wish", [ALWAYS, Wish(listed=True, connect="never")])
def test_a_refused_reconnect_kills_nothing_that_is_left_alone(story: Story, wish: Wish) -> None:
    """If a reconnect is refused during a pause of all hosts, or for a "never" host, the old connection is kept."""
    story.connected(scene=HOME, wish=wish)
    story.after(60)
    if wish is ALWAYS:
        story.post(user_events.UserPause(story.t, ()), "pause all")
    story.network(CAFE)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.8).fails("web", "auth", positive=True)
    story.after(600)
    assert not story.did(Kill)
    assert story.host("web").master is not None
    assert story.host("web").attempt is None
    assert [tell.details["code"] for tell in story.told("connect-failed")] == ["auth-denied"]


def test_a_changed_configuration_affects_only_the_changed_host(story: Story) -> None:
    """A new forward of one host in the configuration affects no other host."""
    story.connected(scene=HOME)
    story.connected("db")
    story.after(60)
    story.forget()
    wish = replace(ALWAYS, forwards=(parse("local", "8080:localhost:80"),))
    story.configured(web=wish, db=ALWAYS)
    story.expect("""
        60.000 configured
            ensure forwards web
    """)


def test_a_host_that_left_the_configuration_keeps_its_master(story: Story) -> None:
    """A host that left the configuration keeps its master as an adopted one. Without a master it is forgotten."""
    story.connected(scene=HOME)
    story.configured()
    assert not story.did(Kill)
    assert not story.host("web").wish.listed
    story.after(60).ended("web")
    assert "web" not in story.state.hosts


def test_adopt_false_keeps_only_the_listed_hosts(story: Story) -> None:
    """After a change to `adopt = false`, the agent leaves adopted masters alone."""
    story.connected(scene=HOME)
    story.found("other")
    story.configured(web=ALWAYS, adopt=False)
    assert list(story.state.hosts) == ["web"]


def test_never_means_never(story: Story) -> None:
    """A "never" host is left alone, whether its master is stale or ended."""
    story.connected(scene=HOME, wish=Wish(listed=True, connect="never"))
    story.actions.clear()
    story.after(60).network(CAFE)
    story.after(3600).ended("web")
    story.after(3600)
    assert not [x for x in story.actions if isinstance(x, (Dial, Kill, SendProbe))]


def test_a_fresh_master_is_beyond_doubt(story: Story) -> None:
    """A master that has just logged in gets no probe."""
    story.connected(scene=HOME)
    story.forget()
    story.found("other", fresh=True)
    story.expect("""
        0.000 found other pid=102 fresh
                other: row 0 adopt
    """)


def test_an_old_master_is_probed_once(story: Story) -> None:
    """A master that is found at the agent's start gets one probe, because it may have been dead for hours."""
    story.connected(scene=HOME)
    story.forget()
    story.found("other", fresh=False)
    story.after(0.05).answered("other")
    story.expect("""
        0.000 found other pid=102 old
                other: row 0 adopt
                other: row 5 probe
            probe other pid=102
        0.050 probe of other answered
                other: row 6 keep
    """)


def test_an_old_master_from_another_network_is_replaced(story: Story) -> None:
    """If the agent starts in the café, a master whose address is gone is replaced."""
    story.network(CAFE)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.found("web", fresh=False, local="192.168.10.2")
    story.started()
    story.after(0.8).ready("web")
    story.took_over("web")
    story.expect("""
        0.000 network: café
        0.000 configured
        0.000 found web pid=101 old
                web: row 0 adopt
                web: row 0 suspect
        0.000 started
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        0.800 attempt of web ready pid=102
                web: row 9 replace
            take over web #1 pid=102 old=101
        0.800 took over web pid=102
                web: row 0 connected
            ensure forwards web
    """)


def test_the_users_own_ssh_may_win_the_race(story: Story) -> None:
    """If the user's own master appears during the agent's attempt, the agent gives up its attempt."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.forget()
    story.after(0.3).found("web")
    story.expect("""
        0.300 found web pid=101 fresh
                web: row 0 adopt
            abort web #1
            ensure forwards web
    """)


def test_an_on_use_host_that_was_lost_is_recovered_once(story: Story) -> None:
    """A lost on-use host is recovered once, in the background.

    When ControlPersist ends the master later, the host is idle.
    """
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).network(CAFE)
    story.after(0.8).ready("web")
    story.took_over("web")
    story.after(600).ended("web")
    story.after(3600)
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control background
        60.800 attempt of web ready pid=102
                web: row 9 replace
            take over web #1 pid=102 old=101
        60.800 took over web pid=102
                web: row 0 connected
            ensure forwards web
        660.800 ended web pid=102
                web: row 1 ended
    """)
    assert story.shown("web") == "idle"


def test_an_on_use_host_that_the_timer_ended_is_not_started(story: Story) -> None:
    """An on-use host whose master the offline timer ended is not started again."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).network(NOTHING)
    story.after(601).ended("web", 101)
    story.after(60).network(HOME)
    story.after(3600)
    assert not story.did(Dial)


def test_an_always_host_that_the_timer_ended_comes_back_with_the_network(story: Story) -> None:
    """An "always" host that the offline timer ended is connected again when the network returns."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(601).ended("web", 101)
    story.after(60).network(HOME)
    assert len(story.did(Dial)) == 1


def test_a_killed_master_is_not_judged_again(story: Story) -> None:
    """Events between a kill and the master's end cause no second kill, no probe and no control."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(601)
    for _ in range(5):
        story.post(user_events.UserViewedStatus(story.t), "the user looks")
    assert len(story.did(Kill)) == 1


def test_a_master_that_ends_while_its_bare_control_runs_is_not_waited_for(story: Story) -> None:
    """When an interactive host's master ends, its bare control does not delay the user's reconnect."""
    story.connected(scene=HOME, wish=Wish(listed=True, connect="always", interactive=True))
    story.after(60).network(CAFE)
    story.after(0.01).ended("web")
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    assert len(story.did(Dial)) == 1


def test_a_control_path_that_was_taken_is_tried_again(story: Story) -> None:
    """A host whose control path is taken is tried again, because no event reports when it is free."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.post(
        e.AttemptFailed(story.t, "web", story.host("web").attempt.id, failure("control-path")),  # type: ignore[union-attr]
        "the path is taken",
    )
    assert story.shown("web") == "failed"
    story.after(301)
    assert len(story.did(Dial)) == 2


def test_a_disconnect_is_finished_by_the_next_agent(story: Story) -> None:
    """The next agent finishes a disconnect. It does not mistake the old master for a new master of the user."""
    story.network(HOME)
    story.configured()
    left = story.master("web")
    story.post(e.Remembered(story.t, "web", held=True, killing=frozenset({left.pid})))
    story.post(e.MasterFound(story.t, "web", left))
    story.resolved("web")
    story.started()
    assert story.did(Kill)
    story.ended("web")
    story.after(60)
    assert not story.did(Dial)
    assert story.shown("web") == "idle"


def test_a_master_that_a_dead_agent_was_about_to_end_is_judged_again(story: Story) -> None:
    """The agent died between its decision and the kill. The next one does not wait for the master's end."""
    story.network(HOME)
    story.configured()
    left = story.master("web")
    story.post(e.Remembered(story.t, "web", killing=frozenset({left.pid})))
    story.post(e.MasterFound(story.t, "web", left))
    story.resolved("web")
    story.started()
    assert not story.did(Kill)
    assert story.did(SendProbe)
    story.after(0.05).answered("web")
    assert story.shown("web") == "connected"


def test_a_failed_reconnect_of_an_on_use_host_says_why(story: Story) -> None:
    """After a failed reconnect, an on-use host is idle and shows the reason until another network or a disconnect."""
    story.network(HOME)
    story.configured(web=ON_USE)
    story.resolved("web")
    story.started()
    for end in ("another network", "disconnect"):
        story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
        story.fails("web", "timed-out")
        story.after(600).network(story.scene)
        assert (story.shown("web"), story.problem("web")) == ("idle", "timed-out")
        if end == "disconnect":
            story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
        else:
            story.network(CAFE)
        assert (story.shown("web"), story.problem("web")) == ("idle", None)


def test_an_on_use_host_that_the_user_ended_shows_no_old_failure(story: Story) -> None:
    """An on-use host that the user ended later does not show the error of an earlier failed reconnect."""
    story.connected(wish=ON_USE, scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.old_answers("web")
    story.fails("web", "timed-out")
    story.after(600).ended("web", 101, by_request=True)
    assert (story.shown("web"), story.problem("web")) == ("idle", None)


def test_a_reconnect_of_an_on_use_host_without_a_network_says_so(story: Story) -> None:
    """A reconnect of an on-use host without a network reports that, and promises no retry."""
    story.network(NOTHING)
    story.configured(web=ON_USE)
    story.resolved("web")
    story.started()
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    said = unreachable_problem(story.host("web"), story.state)
    assert said is not None
    assert (said.code, said.hint) == ("unreachable", "Then: trayagent reconnect web")


def test_a_refused_reconnect_is_no_control_after_another_change_of_the_path(story: Story) -> None:
    """After another change of the path, a control without a login follows. The refused login is not repeated."""
    flicker = Touched(links=frozenset({"wlan0"}))
    story.connected(scene=HOME)
    story.due["web"] = 200.0
    story.after(60).network(HOME, flicker)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).established("web")
    story.fails("web", "auth", positive=True)
    story.after(0.1).network(HOME, flicker)
    story.after(1)
    assert len(story.did(DialBare)) == 1
    assert len(story.did(Dial)) == 1
