"""A host that roams: the outer master is judged and replaced, and the inner master keeps the user's sessions."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, NOTHING
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, Story
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import (
    AttachByPort,
    AttachRoaming,
    BeginRoaming,
    Dial,
    Discard,
    EndRoaming,
    EnsureForwards,
    Kill,
    RestorePath,
    SendProbe,
    TakeOver,
)
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming import RoamingStart
from trayagent.core.view import AgentFacts, view

ROAMS = replace(ALWAYS, roam=True)
INNER = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
OUTER_PATH = "/cm/web.outer"


def roaming(story: Story, wish: Wish = ROAMS) -> None:
    """Begin with a host that roams, connected from home, without an entry in the transcript."""
    plain = story.connected(wish=wish, scene=HOME)
    outer = replace(plain, control_path=OUTER_PATH)
    story.post(r.RoamingBegan(story.t, "web", INNER, outer))
    story.after(60).forget()


def moved_to_cafe(story: Story) -> None:
    """Move, and replace the outer master there."""
    story.network(CAFE)
    story.after(0.3).ready("web")
    story.after(0.3).took_over("web")


def attached(story: Story, sessions: int = 3) -> None:
    """Let the last attach succeed."""
    (*_, action) = story.did(AttachRoaming)
    assert isinstance(action, AttachRoaming)
    story.post(r.RoamingAttached(story.t, "web", action.master.pid, sessions))


def test_a_plain_master_becomes_the_outer_one(story: Story) -> None:
    """A plain master becomes the outer master.

    The host is connected before it roams, and the forwards move to the inner one.
    """
    wish = replace(ROAMS, forwards=(parse("local", "8080:localhost:80"),))
    plain = story.connected(wish=wish, scene=HOME)
    (begin,) = story.state.hosts.values()
    assert begin.roaming_start.through == plain.pid
    assert story.shown("web") == "connected"
    story.post(r.RoamingBegan(story.t, "web", INNER, replace(plain, control_path=OUTER_PATH)))
    (*_, forwards) = story.did(EnsureForwards)
    assert isinstance(forwards, EnsureForwards)
    assert forwards.master == INNER
    assert story.host("web").hidden_path == OUTER_PATH
    assert story.shown("web") == "connected"


def test_a_move_replaces_the_outer_master_and_attaches(story: Story) -> None:
    """A move replaces the outer master, which then attaches. The inner master and its forwards stay unchanged."""
    roaming(story)
    story.network(CAFE)
    story.after(0.3).ready("web")
    story.after(0.3).took_over("web")
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.300 attempt of web ready pid=102
                web: row 9 replace
                web: row 0 attach
            AttachRoaming web
            take over web #1 pid=102 old=101
        60.600 took over web pid=102
                web: row 0 connected
    """)
    assert story.shown("web") == "connecting"
    attached(story)
    assert story.shown("web") == "connected"
    (told,) = story.told("moved")
    assert told.details["sessions"] == 3
    assert told.details["took_ms"] == pytest.approx(600)
    assert not story.did(EnsureForwards)
    assert story.host("web").roaming.moves == 1  # type: ignore[union-attr]


def test_a_disconnect_while_the_host_begins_to_roam_ends_the_inner_master(story: Story) -> None:
    """If the inner master gets the control path just after the user disconnected, the agent ends it, then the outer."""
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    assert len(story.did(Kill)) == 1
    outer = replace(plain, control_path=OUTER_PATH)
    story.post(r.RoamingBegan(story.t, "web", INNER, outer))
    (end,) = story.did(EndRoaming)
    assert isinstance(end, EndRoaming) and end.pid == INNER.pid
    story.post(r.RoamingEnded(story.t, "web", INNER.pid, by_request=True))
    (*_, kill) = story.did(Kill)
    assert isinstance(kill, Kill) and kill.master == outer
    assert story.host("web").user.held


def test_a_disconnect_while_the_host_begins_to_roam_is_no_failure(story: Story) -> None:
    """The next connection roams at once."""
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    story.post(r.RoamingNotPossible(story.t, "web", plain.pid, "disconnected", "disconnected"))
    assert story.host("web").roaming_start == RoamingStart()


def test_a_host_without_roam_never_begins(story: Story) -> None:
    """Without `roam`, a host never begins to roam."""
    story.connected(scene=HOME)
    story.after(3600)
    assert story.host("web").roaming_start.through is None


def test_an_adopted_master_does_not_roam(story: Story) -> None:
    """An adopted master cannot become the outer one: at its end it would remove the inner master's path."""
    story.connected(wish=ROAMS, scene=HOME, started_by_agent=False)
    assert story.host("web").roaming_start.through is None


def test_a_login_that_needs_the_user_does_not_roam(story: Story) -> None:
    """A host whose login needs the user does not roam, because the inner login would prompt again."""
    story.connected(wish=replace(ROAMS, interactive=True), scene=HOME)
    assert story.host("web").roaming_start.through is None


def test_a_server_that_cannot_roam_is_named_once(story: Story) -> None:
    """If a server cannot roam, one event reports that.

    The host stays plain until the configuration changes or a reconnect.
    """
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(r.RoamingNotPossible(story.t, "web", plain.pid, "no-python", "no python3", lasting=True))
    story.after(86400)
    assert not story.did(BeginRoaming)
    (told,) = story.told("roaming-failed")
    assert told.reason == "no python3"
    assert story.shown("web") == "connected"
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.reconnected("web")
    assert story.host("web").roaming_start.through is not None


def test_a_failure_that_may_pass_is_tried_again(story: Story) -> None:
    """A temporary failure is not reported.

    Roaming is tried again after a minute, and later after each further failure.
    """
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(r.RoamingNotPossible(story.t, "web", plain.pid, "failed", "it failed"))
    story.after(59)
    assert not story.did(BeginRoaming)
    story.after(2)
    assert len(story.did(BeginRoaming)) == 1
    assert not story.told("roaming-failed")


def test_a_refused_inner_login_counts_for_the_account(story: Story) -> None:
    """A refused inner login counts for the account, because the server may lock it."""
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(r.RoamingNotPossible(story.t, "web", plain.pid, "refused", "refused", lasting=True))
    assert story.host("web").login.refused == (story.t,)


def names_of_one_account(story: Story, count: int = 4) -> list[str]:
    """Begin with names of one account, connected from home, that should all roam."""
    names = [f"web{number}" for number in range(count)]
    for name in names:
        story.connected(name, wish=ROAMS, scene=HOME)
    return names


def starting(story: Story, names: list[str]) -> list[str]:
    """Return the hosts with a running inner login."""
    return [name for name in names if story.host(name).roaming_start.through is not None]


def refuse(story: Story, name: str) -> None:
    """Let the server refuse the inner login."""
    pid = story.living(name).pid
    story.post(r.RoamingNotPossible(story.t, name, pid, "refused", "refused", lasting=True))


def test_an_account_that_refuses_the_inner_login_sees_it_once(story: Story) -> None:
    """If an account refuses the inner login, other names try it ten minutes later, one at a time until one succeeds."""
    names = names_of_one_account(story)
    (first,) = starting(story, names)
    refuse(story, first)
    story.after(599)
    assert starting(story, names) == []
    story.after(2)
    (second,) = starting(story, names)
    assert second != first


def test_a_refused_inner_login_keeps_no_connection_from_coming_back(story: Story) -> None:
    """After a move, refused inner logins do not delay the hosts' outer logins."""
    first, second = names = names_of_one_account(story, 2)
    for name in starting(story, names):
        refuse(story, name)
    story.network(CAFE)
    assert story.host(first).attempt is not None
    story.after(0.4).ready(first)
    assert story.host(second).attempt is not None


def test_a_reconnect_repeats_no_refused_inner_login_within_ten_minutes(story: Story) -> None:
    """A reconnect does not repeat a refused inner login within ten minutes, although the outer login succeeds."""
    plain = story.connected(wish=ROAMS, scene=HOME)
    story.post(r.RoamingNotPossible(story.t, "web", plain.pid, "refused", "refused", lasting=True))
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.reconnected("web")
    assert story.host("web").roaming_start.through is None
    story.after(601)
    assert story.host("web").roaming_start.through is not None


def test_once_one_inner_login_succeeded_the_others_follow_two_at_a_time(story: Story) -> None:
    """After one successful inner login, the others follow, limited to two at a time like any logins."""
    names = names_of_one_account(story)
    (first,) = starting(story, names)
    outer = replace(story.living(first), control_path=OUTER_PATH)
    story.post(r.RoamingBegan(story.t, first, replace(INNER, control_path=f"/cm/{first}"), outer))
    assert starting(story, names) == ["web1", "web2"]


def test_a_refused_outer_login_ends_nothing(story: Story) -> None:
    """If the outer login is refused, the user must act. The sessions of the inner master wait."""
    roaming(story)
    story.network(CAFE)
    story.after(0.4).fails("web", "auth", positive=True)
    story.after(60)
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    story.ended("web", 101)
    assert story.shown("web") == "needs-sign-in"
    assert story.host("web").roaming is not None
    assert not story.did(EndRoaming)


def test_the_offline_timer_ends_only_the_outer_master(story: Story) -> None:
    """The offline timer ends only the outer master.

    The inner one waits for `roam_for`, and the host is recovered for it.
    """
    roaming(story, replace(ON_USE, roam=True))
    story.network(NOTHING)
    story.after(700)
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    story.ended("web", 101)
    story.network(CAFE)
    story.after(0.5).ready("web")
    story.took_over("web")
    attached(story)
    assert story.shown("web") == "connected"


def test_a_lost_link_attaches_through_the_same_master(story: Story) -> None:
    """If the link ends but the outer master answers, the agent attaches once at once, and again after a pause."""
    roaming(story)
    story.post(r.RoamingAway(story.t, "web", "closed"))
    assert len(story.did(AttachRoaming)) == 1
    assert story.shown("web") == "connecting"
    story.post(r.RoamingAttachFailed(story.t, "web", 101, "silent"))
    assert len(story.did(AttachRoaming)) == 1
    story.after(1.1)
    assert len(story.did(AttachRoaming)) == 2
    attached(story)
    assert story.shown("web") == "connected"


def test_another_machine_waits_for_the_next_outer_master(story: Story) -> None:
    """If the outer master leads to another machine, the next attach waits for another outer master."""
    roaming(story)
    moved_to_cafe(story)
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "other-machine"))
    story.after(3600)
    assert len(story.did(AttachRoaming)) == 1
    story.network(HOME)
    story.after(0.5).ready("web")
    story.after(1).took_over("web")
    assert len(story.did(AttachRoaming)) == 2


def reached_another_machine(story: Story) -> None:
    """Move, and let the name lead to another machine at another address, with another known host key."""
    roaming(story)
    story.network(CAFE)
    story.after(0.3).ready("web", peer="203.0.113.12", host_key=HOST_KEY)
    story.after(0.3).took_over("web")
    story.forget()
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "other-machine"))


def test_the_agent_connects_to_the_address_of_the_sessions_machine(story: Story) -> None:
    """If the name led to another machine, one more login goes to the first machine's address.

    The sessions have been waiting since the move, so that is the duration that the event reports.
    """
    reached_another_machine(story)
    assert story.shown("web") == "connecting"
    story.after(0.4).ready("web")
    story.after(0.2).took_over("web")
    story.expect("""
        60.600 RoamingAttachFailed
                web: row 0 attach-failed
                web: row 0 dial
            dial web #2 machine at 203.0.113.10
        61.000 attempt of web ready pid=103
                web: row 0 replace
                web: row 0 attach
            AttachRoaming web
            take over web #2 pid=103 old=102 drains
        61.200 took over web pid=103
                web: row 0 connected
    """)
    attached(story)
    assert story.shown("web") == "connected"
    (told,) = story.told("moved")
    assert told.details["took_ms"] == pytest.approx(1200)
    story.after(3600)
    assert len(story.did(Dial)) == 1


def test_the_address_of_the_sessions_machine_is_tried_once_from_each_network(story: Story) -> None:
    """If the first machine does not answer, its sessions wait, and `status` says for what. The master stays."""
    reached_another_machine(story)
    story.after(1).fails("web", "timed-out")
    assert story.shown("web") == "waiting"
    assert story.problem("web") == "other-machine"
    story.after(3600)
    assert len(story.did(Dial)) == 1
    assert not story.did(Kill)
    story.network(HOME)
    story.after(0.5).ready("web", peer="203.0.113.12")
    story.after(1).took_over("web")
    story.post(r.RoamingAttachFailed(story.t, "web", 103, "other-machine"))
    addresses = [action.address for action in story.did(Dial) if isinstance(action, Dial)]
    assert addresses == ["203.0.113.10", None, "203.0.113.10"]


def test_a_refused_login_at_the_address_counts(story: Story) -> None:
    """The account's limit counts that login, and no automatic login follows."""
    reached_another_machine(story)
    story.after(1).fails("web", "auth", positive=True)
    assert story.host("web").login.was_refused
    assert story.host("web").retry.stopped
    story.after(3600)
    assert len(story.did(Dial)) == 1


def test_another_host_key_at_the_address_is_not_the_sessions_machine(story: Story) -> None:
    """The new outer master must have proven the host key that the inner master's server proved."""
    story.connected(wish=ROAMS, scene=HOME)
    inner = replace(INNER, host_key=HOST_KEY)
    story.post(r.RoamingFound(story.t, "web", inner, OUTER_PATH, "203.0.113.10"))
    story.post(r.RoamingAttached(story.t, "web", 101, 1))
    story.network(CAFE)
    story.after(0.3).ready("web", peer="203.0.113.12")
    story.after(0.3).took_over("web")
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "other-machine"))
    story.after(1).ready("web", host_key="ssh-ed25519 SHA256:stranger")
    assert [x.master.pid for x in story.did(Discard) if isinstance(x, Discard)] == [103]
    assert story.host("web").master.pid == 102  # type: ignore[union-attr]


def test_a_new_outer_master_does_not_wait_for_an_older_attach(story: Story) -> None:
    """A new outer master attaches at once. An older attach through a dead master fails late, which changes nothing."""
    roaming(story)
    moved_to_cafe(story)
    story.network(HOME)
    story.after(0.5).ready("web")
    story.after(1).took_over("web")
    assert len(story.did(AttachRoaming)) == 2
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "closed"))
    assert story.host("web").roaming.attaching == 103  # type: ignore[union-attr]
    attached(story)
    assert story.shown("web") == "connected"


def test_the_end_of_the_inner_master_leaves_a_plain_host(story: Story) -> None:
    """When the inner master ends, the outer master gets the user's control path, and roaming begins again."""
    roaming(story)
    story.ended("web", INNER.pid, kind="died")
    (restored,) = story.did(RestorePath)
    assert isinstance(restored, RestorePath)
    assert restored.master.control_path == OUTER_PATH
    assert story.host("web").hidden_path == OUTER_PATH
    story.post(r.MasterMoved(story.t, "web", 101, "/cm/web"))
    assert story.host("web").hidden_path is None
    assert story.living("web").control_path == "/cm/web"
    assert len(story.did(BeginRoaming)) == 1
    assert not story.did(Kill)
    assert len(story.told("roaming-failed")) == 1


def test_ssh_exit_on_the_inner_master_ends_the_host(story: Story) -> None:
    """`ssh -O exit` on the inner master ends the host's connection, as on a plain host."""
    roaming(story)
    story.ended("web", INNER.pid, by_request=True)
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    story.ended("web", 101)
    story.after(3600)
    assert story.shown("web") == "idle"
    assert not story.did(Dial)


def test_disconnect_ends_the_inner_master_first(story: Story) -> None:
    """`disconnect` ends the inner master first, because its goodbye reaches the server through the outer master."""
    roaming(story)
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    assert len(story.did(EndRoaming)) == 1
    assert not story.did(Kill)
    story.ended("web", INNER.pid)
    assert len(story.did(Kill)) == 1
    story.ended("web", 101)
    assert story.shown("web") == "idle"


def test_a_dead_outer_master_is_replaced_at_once(story: Story) -> None:
    """A dead outer master is replaced at once, whatever ended it, because the inner master's sessions need it."""
    roaming(story)
    story.ended("web", 101, by_request=True)
    assert len(story.did(Dial)) == 1
    story.after(0.5).ready("web")
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver)
    assert taken.old is None
    story.took_over("web")
    assert len(story.did(AttachRoaming)) == 1


def test_the_next_agent_finds_the_inner_master(story: Story) -> None:
    """The next agent attaches the inner master through the outer master that it finds, once that has answered."""
    story.scene = HOME
    story.configured(web=ROAMS)
    story.resolved("web")
    story.network(HOME)
    story.post(r.RoamingFound(story.t, "web", INNER, OUTER_PATH))
    assert story.host("web").hidden_path == OUTER_PATH
    outer = story.master("web", started_by_agent=True, control_path=OUTER_PATH)
    story.post(e.MasterFound(story.t, "web", outer, survivor=True))
    story.started()
    story.after(0.05).answered("web")
    attached(story)
    assert story.shown("web") == "connected"
    assert not story.did(Kill)


def test_the_next_agent_makes_an_outer_master_if_there_is_none(story: Story) -> None:
    """If there is no outer master any more, the next agent makes one for the inner master."""
    story.scene = HOME
    story.configured(web=replace(ON_USE, roam=True))
    story.resolved("web")
    story.network(CAFE)
    story.post(r.RoamingFound(story.t, "web", INNER, OUTER_PATH))
    story.started()
    story.after(0.5).ready("web")
    story.took_over("web")
    attached(story)
    assert story.shown("web") == "connected"


def test_a_host_that_leaves_the_configuration_keeps_its_sessions(story: Story) -> None:
    """For a host that left the configuration, the agent replaces outer masters as long as the inner master lives."""
    roaming(story)
    story.network(NOTHING)
    story.ended("web", 101)
    story.configured()
    assert story.host("web").roaming is not None
    story.network(CAFE)
    assert len(story.did(Dial)) == 1


def test_a_login_of_the_user_takes_the_place_of_a_dead_inner_master(story: Story) -> None:
    """If the inner master is dead, a master of the user on the control path becomes the host's master.

    The outer one ends.
    """
    roaming(story)
    theirs = story.found("web", control_path="/cm/web")
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    assert story.living("web").pid == theirs.pid
    assert story.host("web").roaming is None
    story.ended("web", 101)
    assert story.living("web").pid == theirs.pid


def test_a_reconnect_right_after_a_disconnect_gets_new_masters(story: Story) -> None:
    """A reconnect right after a disconnect makes new masters, because the old ones are already ending."""
    roaming(story)
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.ended("web", INNER.pid)
    assert len(story.did(Kill)) == 1
    story.ended("web", 101)
    assert len(story.did(Dial)) == 1


def test_an_attach_that_was_too_late_for_the_fresh_path_is_repeated(story: Story) -> None:
    """An attach that did not find the new master's socket, because the take-over renamed it, is repeated."""
    roaming(story)
    story.network(CAFE)
    story.after(0.3).ready("web")
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "no-channel"))
    assert len(story.did(AttachRoaming)) == 1
    story.took_over("web")
    assert len(story.did(AttachRoaming)) == 2


def test_an_attach_that_is_faster_than_the_take_over_counts(story: Story) -> None:
    """An attach counts even if it succeeds before the take-over."""
    roaming(story)
    story.network(CAFE)
    story.after(0.3).ready("web")
    story.after(0.1)
    attached(story)
    story.took_over("web")
    assert len(story.did(AttachRoaming)) == 1
    assert story.shown("web") == "connected"
    (told,) = story.told("moved")
    assert told.details["took_ms"] == pytest.approx(400)


def test_a_silent_outer_master_is_found_while_it_is_used(story: Story) -> None:
    """If the user's data is not acknowledged, the outer master is probed, although the network did not change."""
    roaming(story)
    story.post(r.RoamingStalled(story.t, "web"))
    assert len(story.did(SendProbe)) == 1
    story.due["web"] = 60.0
    story.after(1.0)
    assert len(story.did(Dial)) == 1
    story.ready("web")
    story.after(1.0)
    assert len(story.did(TakeOver)) == 1
    assert not story.did(EndRoaming)


def test_a_stall_of_a_master_that_answers_changes_nothing(story: Story) -> None:
    """If the outer master answers during a stall, it is kept: the line is slow, or the far relay is busy."""
    roaming(story)
    story.post(r.RoamingStalled(story.t, "web"))
    story.after(0.1).answered("web")
    story.after(60)
    assert not story.did(Dial)
    assert story.shown("web") == "connected"


def test_the_forwards_wait_until_the_master_is_back_at_its_path(story: Story) -> None:
    """Forwards are requested only when the master is back at its path, where a request finds its socket."""
    roaming(story, replace(ROAMS, forwards=(parse("local", "8080:localhost:80"),)))
    story.ended("web", INNER.pid, kind="died")
    assert not story.did(EnsureForwards)
    story.post(r.MasterMoved(story.t, "web", 101, "/cm/web"))
    assert len(story.did(EnsureForwards)) == 1


def test_a_master_whose_path_is_taken_serves_where_it_is(story: Story) -> None:
    """If another program has taken the control path, the master stays on its own path.

    The agent tries to move it once.
    """
    roaming(story, replace(ROAMS, forwards=(parse("local", "8080:localhost:80"),)))
    story.ended("web", INNER.pid, kind="died")
    story.post(r.MasterMoved(story.t, "web", 101, OUTER_PATH))
    assert len(story.did(EnsureForwards)) == 1
    story.after(3600)
    assert len(story.did(RestorePath)) == 1
    assert story.shown("web") == "connected"


def test_a_login_of_the_user_ends_a_master_that_is_not_back_at_its_path(story: Story) -> None:
    """If the user's own ssh takes the control path first, the earlier outer master ends."""
    roaming(story)
    story.ended("web", INNER.pid, kind="died")
    theirs = story.found("web", control_path="/cm/web")
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    assert story.living("web").pid == theirs.pid


def test_an_idle_on_use_host_ends_with_its_inner_master(story: Story) -> None:
    """If ControlPersist ends an on-use host's inner master, the outer one ends, too, and neither is started again."""
    roaming(story, replace(ON_USE, roam=True))
    story.ended("web", INNER.pid)
    story.post(e.MasterEnded(story.t, "web draining 900", 900))
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [101]
    story.ended("web", 101)
    story.after(3600)
    assert not story.did(BeginRoaming) and not story.did(Dial)
    assert story.shown("web") == "idle"
    assert not story.told("roaming-failed")


def test_inner_masters_that_end_soon_are_started_less_and_less_often(story: Story) -> None:
    """If inner masters end soon, the first is restarted at once, later ones after one minute, two, and so on."""
    outer = replace(story.connected(wish=ROAMS, scene=HOME), control_path=OUTER_PATH)
    begun = []
    for number in range(5):
        story.post(r.RoamingBegan(story.t, "web", replace(INNER, pid=900 + number), outer))
        story.after(5).ended("web", 900 + number, kind="died")
        story.forget()
        story.post(r.MasterMoved(story.t, "web", 101, "/cm/web"))
        ended_at = story.t
        while not story.did(BeginRoaming):
            story.after(1)
        begun.append(round(story.t - ended_at))
    assert begun == [0, 60, 120, 240, 300]
    story.after(10)
    story.post(r.RoamingBegan(story.t, "web", INNER, outer))
    story.after(3600).ended("web", INNER.pid, kind="died")
    story.forget()
    story.post(r.MasterMoved(story.t, "web", 101, "/cm/web"))
    assert len(story.did(BeginRoaming)) == 1


def test_a_reconnect_is_over_when_the_new_outer_master_is_attached(story: Story) -> None:
    """A reconnect is complete only when the new outer master is attached.

    If the attach fails, the agent tries again later.
    """
    roaming(story)
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.after(0.1).old_answers("web")
    story.after(0.3).ready("web")
    story.after(0.1).took_over("web")
    assert story.host("web").attaching
    assert story.shown("web") == "connecting"
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "silent"))
    assert not story.host("web").attaching
    story.after(1.1)
    assert story.host("web").attaching
    attached(story)
    assert not story.host("web").attaching
    assert story.shown("web") == "connected"


def reconnected_at_once(story: Story) -> None:
    """Run `reconnect --now`: the new outer master is ready and takes over."""
    story.post(user_events.UserReconnect(story.t, ("web",), at_once=True))
    story.after(0.3).ready("web")
    assert not story.did(EndRoaming)
    story.after(0.1).took_over("web")


def test_a_reconnect_at_once_ends_the_inner_master(story: Story) -> None:
    """`reconnect --now` ends the inner master. The new outer master gets the control path, and roaming begins again."""
    roaming(story)
    reconnected_at_once(story)
    assert len(story.did(EndRoaming)) == 1
    assert story.host("web").renewing
    story.ended("web", INNER.pid)
    assert len(story.did(RestorePath)) == 1
    assert story.host("web").renewing
    story.post(r.MasterMoved(story.t, "web", 102, "/cm/web"))
    assert not story.host("web").renewing
    assert story.shown("web") == "connected"
    assert len(story.did(BeginRoaming)) == 1
    assert len(story.did(Dial)) == 1
    assert not story.did(Kill)
    assert not story.told("roaming-failed")
    assert not story.told("disconnected")


def test_a_reconnect_at_once_that_fails_ends_nothing(story: Story) -> None:
    """If `reconnect --now` fails, the sessions stay. A later automatic login does not end them."""
    roaming(story)
    story.post(user_events.UserReconnect(story.t, ("web",), at_once=True))
    story.after(0.3).fails("web", "timed-out")
    assert story.host("web").attempt is None
    moved_to_cafe(story)
    attached(story)
    assert story.shown("web") == "connected"
    assert not story.did(EndRoaming)


def test_a_disconnect_after_a_reconnect_at_once_ends_both_masters(story: Story) -> None:
    """A disconnect right after `reconnect --now` ends both masters, although the inner one is still ending."""
    roaming(story)
    reconnected_at_once(story)
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    story.ended("web", INNER.pid)
    assert [x.master.pid for x in story.actions if isinstance(x, Kill)] == [102]
    story.ended("web", 102)
    assert story.shown("web") == "idle"


def test_a_reconnect_at_once_during_a_pause_leaves_a_master_at_the_control_path(story: Story) -> None:
    """`reconnect --now` during a pause of all hosts leaves the new master on the control path."""
    roaming(story)
    story.post(user_events.UserPause(story.t, ()))
    reconnected_at_once(story)
    story.ended("web", INNER.pid)
    assert len(story.did(RestorePath)) == 1


def by_port(story: Story, port: int | None = 60001) -> None:
    """Make the host roam with `roam_port` set. The far relay listens on `port`."""
    wish = replace(ROAMS, roam_port="60001")
    plain = story.connected(wish=wish, scene=HOME)
    outer = replace(plain, control_path=OUTER_PATH)
    story.post(r.RoamingBegan(story.t, "web", INNER, outer, port))
    story.after(60).forget()


def roaming_view(story: Story) -> dict[str, Any]:
    """Return `roaming` of the host in `status --json`."""
    found: dict[str, Any] = view(story.state, AgentFacts("0.1.0", 4000, ""), {}, str, story.t)["hosts"][0][
        "roaming"
    ]
    return found


def test_sessions_move_by_the_port_before_the_login(story: Story) -> None:
    """The attach by port begins with the attempt. The move is published once, when the sessions continue."""
    by_port(story)
    story.network(CAFE)
    (action,) = story.did(AttachByPort)
    assert isinstance(action, AttachByPort)
    assert (action.address, action.port) == (story.host("web").roaming.address, 60001)  # type: ignore[union-attr]
    story.after(0.06).post(r.RoamingAttachedByPort(story.t, "web", 3))
    (told,) = story.told("moved")
    assert (told.details["by"], told.details["sessions"]) == ("port", 3)
    assert told.details["took_ms"] == pytest.approx(60)
    story.after(0.24).ready("web")
    (attach,) = story.did(AttachRoaming)
    assert isinstance(attach, AttachRoaming)
    story.post(r.RoamingAttached(story.t, "web", attach.master.pid, 3, by_port=True))
    story.after(0.3).took_over("web")
    assert story.shown("web") == "connected"
    assert len(story.told("moved")) == 1
    assert story.host("web").roaming.by_port_since == pytest.approx(60.06)  # type: ignore[union-attr]


def test_a_lost_port_link_moves_to_the_outer_master(story: Story) -> None:
    """If the connection to the port is lost, the present outer master carries the link, without another login."""
    by_port(story)
    story.network(CAFE)
    story.after(0.06).post(r.RoamingAttachedByPort(story.t, "web", 3))
    story.after(0.24).ready("web")
    (attach,) = story.did(AttachRoaming)
    assert isinstance(attach, AttachRoaming)
    story.post(r.RoamingAttached(story.t, "web", attach.master.pid, 3, by_port=True))
    story.after(0.3).took_over("web")
    story.after(60).forget()
    story.post(r.RoamingAway(story.t, "web", "closed"))
    assert len(story.did(AttachRoaming)) == 1
    assert not story.did(Dial)


def test_a_port_that_does_not_answer_is_reported_once(story: Story) -> None:
    """The first failure of the port is reported, and a success forgets it. The outer master moves the sessions."""
    by_port(story)
    story.network(CAFE)
    story.post(r.RoamingPortFailed(story.t, "web", "no-connection"))
    story.post(r.RoamingPortFailed(story.t, "web", "no-connection"))
    assert roaming_view(story)["no_port"] == "unreachable"
    story.after(0.3).ready("web")
    attached(story)
    (told,) = story.told("moved")
    assert told.details["by"] == "channel"
    story.post(r.RoamingAttachedByPort(story.t, "web", 3))
    assert roaming_view(story)["no_port"] is None


@pytest.mark.parametrize("why", ["taken", "unset", "behind a jump host"])
def test_no_port_is_tried_without_one(story: Story, why: str) -> None:
    """No attach by port is tried if the port was taken, the key was removed, or ssh does not connect directly."""
    by_port(story, 0 if why == "taken" else 60001)
    if why == "unset":
        story.configured(web=ROAMS)
    elif why == "behind a jump host":
        story.resolved("web", jump="gate")
    story.network(CAFE)
    assert story.did(Dial)
    assert not story.did(AttachByPort)


def earlier(story: Story) -> None:
    """Let the user's own ssh take the control path of a host that roams."""
    roaming(story)
    story.post(e.MasterFound(story.t, "web", story.master("web", started_by_agent=False), fresh=True))


def test_an_ssh_that_takes_the_control_path_ends_no_session(story: Story) -> None:
    """The inner master drains with its outer master. Its link moves to the next outer master of the host."""
    earlier(story)
    inner = story.host("web draining 900")
    assert not story.did(Kill)
    assert not story.did(Kill, inner.name)
    assert inner.roaming is not None
    assert (inner.roaming.inner.pid, inner.master and inner.master.pid) == (900, 101)
    story.post(e.Carried(story.t, inner.name, 900, 2, 0))
    shown = view(story.state, AgentFacts("", 0, ""), {}, lambda _: "", story.t)
    assert [one["sessions"] for host in shown["hosts"] for one in host["draining"]] == [2]
    moved_to_cafe(story)
    assert not story.did(AttachRoaming, inner.name)  # until it is clear which master is the outer one
    plain = story.living("web")
    new = replace(INNER, pid=901)
    story.post(r.RoamingBegan(story.t, "web", new, replace(plain, control_path=OUTER_PATH)))
    story.post(r.RoamingAttached(story.t, inner.name, plain.pid, 2))
    (end,) = story.did(Kill, inner.name)
    assert isinstance(end, Kill)
    assert end.master.pid == 101
    assert not story.did(EndRoaming, inner.name)


@pytest.mark.parametrize(
    "request_",
    [
        user_events.UserDisconnect(0, ("web",)),
        user_events.UserReconnect(0, ("web",), at_once=True),
        user_events.UserStopMasters(0),
    ],
)
def test_the_user_ends_the_sessions_without_a_control_path(story: Story, request_: Any) -> None:
    """`disconnect`, `reconnect --now` and `stop --masters` end the inner master with its far relay, then its outer."""
    earlier(story)
    name = "web draining 900"
    story.post(replace(request_, at=story.t))
    (end,) = story.did(EndRoaming, name)
    assert isinstance(end, EndRoaming)
    assert end.pid == 900
    assert not story.did(Kill, name)
    story.post(e.MasterEnded(story.t, name, 900))
    assert len(story.did(Kill, name)) == 1
    story.post(e.MasterEnded(story.t, name, 101))
    assert name not in story.state.hosts


def test_an_inner_master_without_control_path_and_sessions_ends(story: Story) -> None:
    """It may hold ports of forwards, so the agent ends it once it has had no session for 10 s."""
    earlier(story)
    name = "web draining 900"
    for _ in range(2):
        story.post(e.Carried(story.t, name, 900, 0, 0))
        story.after(11)
    assert len(story.did(EndRoaming, name)) == 1


def idle_owner(story: Story) -> str:
    """Let an on-use host be idle while the sessions of its earlier inner master continue. Return that one's name."""
    roaming(story, replace(ON_USE, roam=True))
    theirs = story.master("web", started_by_agent=False)
    story.post(e.MasterFound(story.t, "web", theirs, fresh=True))
    story.after(1).ended("web", theirs.pid)
    story.post(e.Carried(story.t, "web draining 900", 900, 1, 0))
    assert story.shown("web") == "idle"
    story.forget()
    return "web draining 900"


def test_an_idle_host_is_connected_for_the_sessions_without_a_control_path(story: Story) -> None:
    """If a move takes away their outer master's address, the agent connects even an on-use host."""
    name = idle_owner(story)
    story.network(CAFE)
    assert len(story.did(Dial)) == 1
    story.after(0.3).ready("web")
    story.after(0.1).took_over("web")
    plain = story.living("web")
    story.post(
        r.RoamingBegan(story.t, "web", replace(INNER, pid=901), replace(plain, control_path=OUTER_PATH))
    )
    assert len(story.did(AttachRoaming, name)) == 1


def test_an_idle_host_is_connected_if_data_gets_no_answer(story: Story) -> None:
    """If data of these sessions is not acknowledged, or their link ends, the agent connects the host, too."""
    name = idle_owner(story)
    story.after(60)
    assert not story.did(Dial)
    story.post(r.RoamingStalled(story.t, name))
    assert len(story.did(Dial)) == 1


def test_an_idle_host_stays_idle_without_sessions_or_after_a_disconnect(story: Story) -> None:
    """Without open sessions the host is not connected. A login in progress is given up when the last one ends."""
    name = idle_owner(story)
    story.network(CAFE)
    story.post(r.RoamingEnded(story.t, name, 900, "closed"))
    assert story.shown("web") == "idle"
    story.after(600)
    assert len(story.did(Dial)) == 1
    assert not story.host("web").awaited


def test_the_last_outer_master_stays_for_the_sessions_without_a_control_path(story: Story) -> None:
    """If ControlPersist ends the host's next inner master, its outer master stays for the earlier one."""
    name = idle_owner(story)
    story.network(CAFE)
    story.after(0.3).ready("web")
    story.after(0.1).took_over("web")
    plain = story.living("web")
    story.post(
        r.RoamingBegan(story.t, "web", replace(INNER, pid=901), replace(plain, control_path=OUTER_PATH))
    )
    story.post(r.RoamingAttached(story.t, name, plain.pid, 1))
    story.post(e.MasterEnded(story.t, name, 101))
    story.forget()
    story.ended("web", 901, by_request=True)
    assert story.shown("web") == "idle"
    assert not story.did(Kill)
    inner = story.host(name)
    assert inner.master is not None
    assert inner.master.pid == plain.pid
    story.after(600)
    assert not story.did(Dial)
    story.post(e.MasterEnded(story.t, name, 900))
    assert len(story.did(Kill, name)) == 1


@pytest.mark.parametrize(
    "code", ["near-relay-silent", "unsafe-folder", "far-relay-unseen", "far-relay-unreachable", "silent"]
)
def test_sessions_wait_for_their_far_relay(story: Story, code: str) -> None:
    """If the server gives no access to a far relay that may still run, `status` says so, and nothing ends."""
    roaming(story)
    moved_to_cafe(story)
    story.post(r.RoamingAttachFailed(story.t, "web", 102, code))
    if code == "silent":  # one failure may be due to an outer master that was about to end
        assert story.problem("web") is None
        story.after(60)
        story.post(r.RoamingAttachFailed(story.t, "web", 102, code))
    assert (story.shown("web"), story.problem("web")) == ("waiting", "relay-unreachable")
    story.after(3600)
    assert not story.did(EndRoaming)


def test_the_inner_master_of_another_agent_is_never_doubted(story: Story) -> None:
    """Its connection ends at that agent's near relay, so no address and no silence shows that it is stale."""
    story.connected(wish=ROAMS, scene=HOME, started_by_agent=False)
    theirs = replace(story.living("web"), relayed=True)
    story.ended("web")
    story.post(e.MasterFound(story.t, "web", theirs))
    story.after(60).forget()
    story.network(NOTHING)
    story.after(30).network(CAFE)
    story.post(user_events.UserViewedStatus(story.t, ()))
    story.after(600)
    assert story.shown("web") == "connected"
    assert not (story.did(Dial) or story.did(Kill) or story.did(SendProbe))
    story.post(user_events.UserReconnect(story.t, ("web",)))
    assert len(story.did(Dial)) == 1


def test_sessions_wait_for_python_on_the_server(story: Story) -> None:
    """If python3 does not start on the server any more, `status` says so, and the agent keeps trying."""
    roaming(story)
    moved_to_cafe(story)
    story.post(r.RoamingAttachFailed(story.t, "web", 102, "no-python"))
    assert (story.shown("web"), story.problem("web")) == ("waiting", "no-python")
    story.after(60)
    assert len(story.did(AttachRoaming)) == 2
    attached(story)
    assert (story.shown("web"), story.problem("web")) == ("connected", None)
