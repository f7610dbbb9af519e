"""Two names of one account share a control path: one owns the connection, and the other one follows it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, EndRoaming, EnsureForwards, Kill, SendProbe, TakeOver
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.view import AgentFacts, view

WEB, ALIAS = parse("local", "9000:127.0.0.1:80"), parse("local", "9001:127.0.0.1:81")

USES = replace(ALWAYS, forwards=(ALIAS,))


@pytest.fixture
def shared(story: Story) -> Story:
    """Begin with two connected names of one account. The agent made the master for `web`."""
    master = story.connected(scene=HOME, wish=replace(ALWAYS, forwards=(WEB,)))
    uses(story, master)
    story.after(60).forget()
    return story


def uses(story: Story, master: Master, wish: Wish = USES) -> None:
    """Add the name `alias`, which uses this master."""
    story.post(e.Configured(story.t, {"web": story.host("web").wish, "alias": wish}), "alias is listed")
    story.post(e.MasterFound(story.t, "alias", replace(master, started_by_agent=False), fresh=True), "alias")
    path(story, "alias", "/cm/web")


def path(story: Story, name: str, control_path: str) -> None:
    """Let `ssh -G` report this control path."""
    known = story.host("web").resolved
    assert known is not None
    answer = replace(known, control_path=control_path)
    story.post(e.HostResolved(story.t, name, answer, story.host("web").hop), f"{name} has {control_path}")


def shown(story: Story, name: str) -> dict[str, Any]:
    """Return a host in the view."""
    facts = AgentFacts("0.1.0", 4000, "2026-01-01T08:00:00Z")
    hosts = view(story.state, facts, {}, lambda at: f"wall {at:.0f}", story.t)["hosts"]
    return next(host for host in hosts if host["name"] == name)


def test_after_a_move_one_login_replaces_the_connection_of_both(shared: Story) -> None:
    """Only the owner is judged and logs in. Both names have the new master, and each opens its forwards there."""
    shared.network(CAFE)
    shared.after(0.3)
    assert {shared.shown("web"), shared.shown("alias")} == {"connecting"}
    shared.ready("web")
    shared.after(0.3)
    (asked,) = shared.did(TakeOver)
    assert isinstance(asked, TakeOver)
    # The end of the old master is not reported: the take-over says which master follows.
    new = replace(asked.master, control_path="/cm/web")
    shared.post(e.TookOver(shared.t, "web", asked.attempt, new), "took over")
    assert shared.living("alias").pid == shared.living("web").pid == 102
    assert {shared.shown("web"), shared.shown("alias")} == {"connected"}
    assert not shared.did(Dial, "alias")
    assert not shared.did(SendProbe, "alias")
    assert shared.did(EnsureForwards, "web")
    assert shared.did(EnsureForwards, "alias")
    assert {told.name for told in shared.tells if told.event in {"connected", "disconnected"}} == {"web"}


def test_a_proof_for_the_owner_counts_for_the_other_name(shared: Story) -> None:
    """If the user views `alias`, its owner's connection is probed. One answer proves it for both names."""
    shared.post(user_events.UserViewedStatus(shared.t, ("alias",)), "viewed")
    assert [x.name for x in shared.actions if isinstance(x, SendProbe)] == ["web"]
    shared.after(3)
    assert {shared.shown("web"), shared.shown("alias")} == {"checking"}
    shared.answered("web")
    assert {shared.shown("web"), shared.shown("alias")} == {"connected"}


def test_the_other_name_does_not_roam_and_says_whose_connection_it_uses(shared: Story) -> None:
    """It does not say that the user started the connection."""
    uses(shared, shared.living("web"), replace(ALWAYS, roam=True))
    assert shown(shared, "alias")["no_roaming"] == "It uses the connection of web"
    assert shown(shared, "web")["no_roaming"] is None


def test_forwards_of_the_other_name_are_not_by_hand(shared: Story) -> None:
    """What one name's configuration requests is not shown as given by hand at the other one."""
    pid = shared.living("web").pid
    found = tuple(ForwardState(forward, "open") for forward in (WEB, ALIAS))
    shared.post(e.HandForwardsFound(shared.t, "web", pid, found), "found")
    assert shared.host("web").forwards.by_hand == ()


def test_a_name_with_a_new_control_path_gets_its_own_connection(shared: Story) -> None:
    """The owner keeps its master, and closes the forwards of the other name there."""
    old = shared.living("web").pid
    path(shared, "alias", "/cm/alias")
    shared.after(3)
    assert shared.did(Dial, "alias")
    assert shared.did(EnsureForwards, "web")
    shared.ready("alias")
    shared.after(0.1).took_over("alias")
    assert shared.living("web").pid == old != shared.living("alias").pid
    assert not [x for x in shared.actions if isinstance(x, Kill)]


def test_an_owner_with_a_new_control_path_leaves_the_connection_to_the_other_name(shared: Story) -> None:
    """The name whose control path is still there keeps the master."""
    old = shared.living("web").pid
    path(shared, "web", "/cm/web.new")
    shared.after(3)
    assert shared.host("web").master is None
    assert shared.did(Dial, "web")
    assert shared.living("alias").pid == old


def test_a_change_of_both_control_paths_keeps_the_connection(shared: Story) -> None:
    """After a change of `Host *`, both names still share the living master."""
    pid = shared.living("web").pid
    path(shared, "web", "/cm/new")
    path(shared, "alias", "/cm/new")
    shared.after(10)
    assert shared.living("web").pid == pid


def test_when_the_owner_roams_the_other_name_uses_the_inner_master(shared: Story) -> None:
    """The other name neither judges nor replaces the inner master. After a move, its sessions continue, too."""
    plain = shared.living("web")
    inner = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
    outer = replace(plain, control_path="/cm/web.outer")
    shared.post(r.RoamingBegan(shared.t, "web", inner, outer), "web roams")
    assert shared.living("alias").pid == 900
    assert shared.did(EnsureForwards, "alias")
    shared.after(60).forget()
    shared.network(CAFE)
    shared.after(0.3).ready("web")
    shared.after(0.3).took_over("web")
    assert shared.living("alias").pid == 900
    assert not shared.did(Dial, "alias")
    assert not [x for x in shared.actions if isinstance(x, Kill) and x.master.pid == 900]


@pytest.mark.parametrize(("one", "other"), [("web", "alias"), ("alias", "web")])
def test_a_disconnect_leaves_the_connection_to_the_other_name(shared: Story, one: str, other: str) -> None:
    """The sessions of the other name continue. Its round of forwards closes those of the disconnected name."""
    pid = shared.living("web").pid
    shared.post(user_events.UserDisconnect(shared.t, (one,)), "disconnect")
    assert shared.shown(one) == "idle"
    assert shared.living(other).pid == pid
    assert shared.shown(other) == "connected"
    assert shared.did(EnsureForwards, other)
    assert not [x for x in shared.actions if isinstance(x, Kill)]
    shared.post(user_events.UserDisconnect(shared.t, (other,)), "disconnect")
    assert [x.master.pid for x in shared.actions if isinstance(x, Kill)] == [pid]


def test_a_reconnect_of_the_other_name_keeps_the_inner_master(shared: Story) -> None:
    """The owner gets a new outer master, and the sessions continue."""
    inner = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
    outer = replace(shared.living("web"), control_path="/cm/web.outer")
    shared.post(r.RoamingBegan(shared.t, "web", inner, outer), "web roams")
    shared.after(60).forget()
    shared.post(user_events.UserReconnect(shared.t, ("alias",)), "reconnect")
    assert shared.did(Dial, "web")
    assert not shared.did(Dial, "alias")


@pytest.fixture
def roams(shared: Story) -> Story:
    """Begin with an owner that roams. The other name uses its inner master."""
    inner = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
    outer = replace(shared.living("web"), control_path="/cm/web.outer")
    shared.post(r.RoamingBegan(shared.t, "web", inner, outer), "web roams")
    shared.after(60).forget()
    return shared


@pytest.mark.parametrize("typed", ["web", "alias"])
def test_if_the_owners_inner_master_loses_the_path_both_use_the_new_master(roams: Story, typed: str) -> None:
    """The user removed the socket and ran ssh with either name. The inner master keeps its sessions."""
    new = Master(950, 7, "/cm/web", local="192.168.10.2", peer="203.0.113.10", peer_port=22)
    roams.post(e.MasterFound(roams.t, typed, new, fresh=True), "found")
    assert roams.living("web").pid == roams.living("alias").pid == 950
    assert roams.host("web draining 900").roaming is not None
    roams.after(60)
    assert not [x for x in roams.actions if isinstance(x, Kill)]


def test_the_master_of_another_account_is_not_the_owners(roams: Story) -> None:
    """If the user gave another server the same control path, the owner opens no forward there."""
    known = roams.host("web").resolved
    assert known is not None
    elsewhere = replace(known, host="other", hostname="other.example.net")
    roams.post(e.Configured(roams.t, {"web": ALWAYS, "alias": USES, "other": ALWAYS}), "other is listed")
    roams.post(e.HostResolved(roams.t, "other", elsewhere, roams.host("web").hop), "other has /cm/web")
    new = Master(950, 7, "/cm/web", local="192.168.10.2", peer="203.0.113.99", peer_port=22)
    roams.post(e.MasterFound(roams.t, "other", new, fresh=True), "found")
    assert roams.living("other").pid == 950
    assert roams.living("alias").pid == 900


def test_after_an_exit_of_the_inner_master_the_other_name_stays_down(roams: Story) -> None:
    """The doubt about the outer master, just after a move, is no doubt about the inner one."""
    roams.network(CAFE)
    for name in ("web", "alias"):
        roams.post(e.MasterEnded(roams.t, name, 900, None, by_request=True), "-O exit")
    roams.after(60)
    assert roams.shown("alias") == "idle"
    assert not roams.did(Dial, "alias")


def test_only_its_owner_ends_an_inner_master(roams: Story) -> None:
    """The owner notifies the far relay first."""
    roams.post(user_events.UserStopMasters(roams.t), "stop --masters")
    assert roams.did(EndRoaming, "web")
    assert not [x for x in roams.actions if isinstance(x, Kill) and x.master.pid == 900]


def test_the_inner_master_of_a_paused_owner_is_left_alone(roams: Story) -> None:
    """After a move, the other name waits for its owner, too."""
    roams.post(user_events.UserPause(roams.t, ("web",)), "pause")
    roams.network(CAFE)
    roams.after(120)
    assert roams.shown("alias") == "paused"
    assert not [x for x in roams.actions if isinstance(x, Kill | Dial | SendProbe)]
