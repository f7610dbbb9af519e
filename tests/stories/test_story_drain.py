"""A reconnect beside a master that answers: the old master drains, and ends with its last session or connection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.history.test_history_outages import event as recorded
from tests.stories.scenes import CABLE, CAFE, HOME, NOTHING
from tests.stories.teller import ALWAYS, ON_USE, Story
from trayagent.agent.events.event_bus import event_object
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import CountCarried, Dial, DialBare, Kill, SendProbe, TakeOver
from trayagent.core.facts.draining import Draining
from trayagent.core.view import AgentFacts, view
from trayagent.history.outages import outages

OLD = "web draining 101"


def draining(story: Story, sessions: int = 2, *, stays: bool = False) -> None:
    """Begin with a host that the user reconnected, and whose old master carries sessions."""
    story.connected(scene=HOME)
    reconnected(story, sessions, stays=stays)
    story.forget()


def reconnected(story: Story, sessions: int, *, stays: bool = False) -> None:
    """Let the user reconnect, while the old master answers."""
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).answered("web")
    story.after(0.5).ready("web")
    story.took_over("web", sessions=sessions, stays=stays)


def shown(story: Story) -> list[dict[str, Any]]:
    """Return the draining masters in the view of the only host."""
    facts = AgentFacts("0.1.0", 4000, "2026-01-01T08:00:00Z")
    (host,) = view(story.state, facts, {}, lambda at: f"wall {at:.0f}", story.t)["hosts"]
    assert host["name"] == "web"
    found: list[dict[str, Any]] = host["draining"]
    return found


def killed(story: Story) -> list[int]:
    """Return the pids of killed masters."""
    return [x.master.pid for x in story.actions if isinstance(x, Kill)]


def test_the_old_master_drains_and_ends_by_itself(story: Story) -> None:
    """While the old master drains and ends, the host stays connected.

    No master is killed, and no outage is recorded.
    """
    story.connected(scene=HOME)
    reconnected(story, 2)
    story.expect("""
        60.000 reconnect
                web: row 0 user
                web: row 0 dial
            dial web #1 user
            probe web pid=101
        60.100 probe of web answered
        60.600 attempt of web ready pid=102
                web: row 0 replace
            take over web #1 pid=102 old=101 drains
        60.600 took over web pid=102 drained=101
                web: row 0 draining
                web: row 0 connected
            ensure forwards web
    """)
    assert story.living("web").pid == 102
    assert shown(story) == [{"pid": 101, "since": "wall 1", "sessions": 2, "connections": 0}]
    story.after(86400).ended(OLD)
    assert story.shown("web") == "connected"
    assert shown(story) == []
    assert OLD not in story.state.hosts
    assert killed(story) == []
    (begun,), (over,) = story.told("draining"), story.told("drained")
    assert (begun.name, begun.details["pid"], begun.details["sessions"]) == ("web", 101, 2)
    assert (over.name, over.details["pid"], over.details["killed"]) == ("web", 101, False)
    assert not story.told("master-killed")
    told = [event_object(tell, recorded(n, tell.event)["at"]) for n, tell in enumerate(story.tells)]
    assert outages(told) == []


def test_a_silent_old_master_is_replaced(story: Story) -> None:
    """A silent old master ends when the new one is ready, even if the login is faster than an answer could be."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).ready("web")
    assert not story.did(TakeOver)
    story.after(0.5)
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert not taken.drain


def test_an_old_master_whose_answer_waits_behind_an_upload_drains(story: Story) -> None:
    """If data behind the probe is still acknowledged, the answer is only late, so the old master drains."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.acked["web"] = 5000
    story.after(0.6).ready("web")
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert taken.drain


def test_now_ends_the_old_master_and_what_drains(story: Story) -> None:
    """`reconnect --now` sends no probe, and ends earlier masters, too."""
    draining(story)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",), at_once=True), "reconnect --now")
    assert not story.did(SendProbe)
    assert killed(story) == [101]
    story.ended(OLD, 101)
    story.ready("web")
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert not taken.drain
    assert story.told("drained")[0].details["killed"] is True


def test_a_login_at_a_terminal_keeps_the_sessions_as_well(story: Story) -> None:
    """`trayagent login` beside a living master also lets the old master drain."""
    story.connected(scene=HOME)
    resolved = story.host("web").resolved
    assert resolved is not None
    story.after(60).post(user_events.LoginBegun(story.t, "web", resolved), "login")
    story.after(0.1).answered("web")
    story.after(9).ready("web")
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert taken.drain


def test_two_masters_may_drain_at_once(story: Story) -> None:
    """After a second reconnect two masters drain. The oldest is shown first."""
    draining(story)
    reconnected(story, 1)
    assert [one["pid"] for one in shown(story)] == [101, 102]
    story.ended("web draining 102", 102)
    assert [one["pid"] for one in shown(story)] == [101]
    assert killed(story) == []


def test_a_look_counts_what_still_drains(story: Story) -> None:
    """`status` makes the agent count the sessions of draining masters, and shows the remaining ones."""
    draining(story)
    story.after(60).post(user_events.UserViewedStatus(story.t, ("web",)), "looked")
    assert len(story.did(CountCarried, OLD)) == 1
    story.carried(OLD, 1)
    assert shown(story)[0]["sessions"] == 1


def test_a_master_that_carries_nothing_and_runs_on_is_ended(story: Story) -> None:
    """If a draining master without sessions still runs, the agent counts again after 10 s, and ends it without any."""
    draining(story)
    story.after(60).carried(OLD, 0)
    story.after(10)
    assert killed(story) == []
    story.carried(OLD, 1)
    story.after(3600)
    assert killed(story) == []
    story.carried(OLD, 0)
    story.after(10).carried(OLD, 0)
    assert killed(story) == [101]


def test_a_master_that_could_not_be_stopped_is_counted_every_minute(story: Story) -> None:
    """A master that could not be stopped does not exit itself, so the agent counts its sessions every minute."""
    draining(story, stays=True)
    story.after(59)
    assert story.did(CountCarried, OLD) == []
    story.after(1).carried(OLD, 2)
    story.after(60).carried(OLD, 0)
    assert len(story.did(CountCarried, OLD)) == 2
    story.after(10).carried(OLD, 0)
    assert killed(story) == [101]


def test_a_pause_ends_nothing_that_drains(story: Story) -> None:
    """During a pause the agent ends no draining master, not even one without sessions."""
    draining(story)
    story.post(user_events.UserPause(story.t, ("web",)), "pause")
    story.after(60).carried(OLD, 0)
    story.after(60).carried(OLD, 0)
    story.network(CAFE)
    story.after(60)
    assert killed(story) == []
    assert not story.did(DialBare, OLD)


def test_a_disconnect_ends_what_drains(story: Story) -> None:
    """A disconnect also ends the host's draining masters."""
    draining(story)
    story.after(60).post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    assert sorted(killed(story)) == [101, 102]


def test_the_end_of_the_new_master_ends_nothing_that_drains(story: Story) -> None:
    """After `ssh -O exit` on the new master the host stays down, and the sessions of the draining master continue."""
    draining(story)
    story.after(60).ended("web", 102, by_request=True)
    assert story.host("web").user.held
    assert [one["pid"] for one in shown(story)] == [101]
    story.after(3600)
    assert killed(story) == []


def test_a_draining_master_whose_address_is_gone_is_judged_with_a_bare_control(story: Story) -> None:
    """If its address is gone, a draining master ends after a bare control from another address. That is no outage."""
    draining(story)
    story.after(60).network(CAFE)
    assert len(story.did(DialBare, OLD)) == 1
    assert not story.did(Dial, OLD)
    story.after(0.1).ready(OLD, bare=True)
    assert killed(story) == []
    story.after(0.2)
    assert killed(story) == [101]
    assert not [t for t in story.told("master-stale") if t.details["pid"] == 101]


def test_a_draining_master_is_not_judged_by_silence(story: Story) -> None:
    """A draining master cannot be probed, so a change of route or a wake ends none whose address still exists."""
    draining(story)
    story.after(60).network(HOME + CABLE)
    story.post(e.Woke(story.t, 3600.0), "woke")
    story.after(600)
    assert not story.did(SendProbe, OLD)
    assert not story.did(DialBare, OLD)
    assert 101 not in killed(story)


def test_a_draining_master_outlasts_a_long_time_without_a_network(story: Story) -> None:
    """`keep_while_offline` does not apply to a draining master. Back at home its sessions continue."""
    draining(story)
    story.after(60).network(NOTHING)
    story.after(3600).network(HOME)
    story.after(60)
    assert 101 not in killed(story)
    assert [one["pid"] for one in shown(story)] == [101]


@pytest.mark.parametrize("wish", [ALWAYS, ON_USE], ids=["always", "on-use"])
def test_the_next_agent_goes_on_with_what_drains(story: Story, wish: Any) -> None:
    """The next agent shows the draining master under its host and kills no master."""
    story.network(HOME)
    story.configured(web=wish)
    story.resolved("web")
    old = story.master("web", started_by_agent=True, control_path="")
    story.post(e.DrainingFound(story.t, old, Draining("web", story.t - 3600, 1)), "found draining")
    story.found("web", fresh=False, started_by_agent=True)
    story.started()
    story.answered("web")
    story.after(600)
    assert [one["sessions"] for one in shown(story)] == [1]
    assert killed(story) == []
    story.ended(OLD, 101)
    assert shown(story) == []


def test_an_adopted_host_is_forgotten_only_when_nothing_drains(story: Story) -> None:
    """An adopted host is kept after its new connection ended, as long as an earlier master drains."""
    story.network(HOME)
    story.configured()
    story.started()
    story.found("web")
    story.resolved("web")
    reconnected(story, 1)
    story.after(60).ended("web", 102, by_request=True)
    assert [one["pid"] for one in shown(story)] == [101]
    story.ended(OLD, 101)
    assert story.state.hosts == {}


def test_no_probe_is_sent_without_a_network(story: Story) -> None:
    """If the network goes away during a reconnect, the old master is not probed until a route is there again."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).answered("web")
    story.forget()
    story.after(0.1).network(HOME.down("wlan0"))
    assert not story.did(SendProbe)


def test_a_probe_from_before_a_hole_proves_no_silence(story: Story) -> None:
    """If the network is lost before the old master's answer, the master is probed again, and drains if it answers."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).ready("web")
    story.after(0.1).network(HOME.down("wlan0"))
    story.after(30)
    assert not story.did(TakeOver)
    story.network(HOME)
    assert len(story.did(SendProbe)) == 2
    story.after(0.2).answered("web")
    story.after(0.1)
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert taken.drain


def test_an_old_master_that_is_silent_after_a_hole_is_replaced(story: Story) -> None:
    """If the old master does not answer the probe that was sent after the network came back, it ends."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.1).ready("web")
    story.after(0.1).network(HOME.down("wlan0"))
    story.after(30).network(HOME)
    story.after(0.4)
    assert not story.did(TakeOver)
    story.after(0.5)
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert not taken.drain
