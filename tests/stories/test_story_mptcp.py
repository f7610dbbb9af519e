"""Multipath TCP: when a new connection uses it, what its failures show, and how a master moves along."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, CAFE_2, HOME, NOTHING, VPN, VPN_ALL, Scene
from tests.stories.teller import ALWAYS, SERVER, Story
from trayagent.core.facts.actions import Abort, Dial, Kill, Publish, Remember, TakeOver
from trayagent.core.facts.events import Configured, MptcpChecked, Remembered
from trayagent.core.facts.mptcp import Mptcp, MptcpTry, Outcome
from trayagent.core.facts.time_constants import MPTCP_PLAIN_S, MPTCP_SEEN_S, MPTCP_TUNNEL_S

HERE, THERE = "192.168.10.2", "10.20.0.7"


def beginning(story: Story, scene: Scene = HOME) -> Story:
    """Begin with a host that is listed and not connected yet."""
    story.network(scene)
    story.configured(web=ALWAYS)
    story.resolved("web")
    return story


def checked(story: Story, outcome: Outcome = "answered", local: str = HERE) -> None:
    """Let doctor check the server."""
    story.post(MptcpChecked(story.t, "web", outcome, local), f"doctor: {outcome}")


def tried(story: Story) -> MptcpTry | None:
    """Return how the last attempt uses Multipath TCP."""
    dial = story.did(Dial)[-1]
    assert isinstance(dial, Dial)
    return dial.mptcp


def lost(story: Story) -> None:
    """Let the host's connection and its server go, so that the agent dials again."""
    story.after(10)
    story.forget()
    story.ended("web", kind="died")


def test_it_is_off_until_doctor_has_seen_it(story: Story) -> None:
    """The first connection is plain TCP. After doctor saw an answer, the next one uses Multipath TCP."""
    beginning(story).started()
    assert tried(story) is None
    story.established("web", HERE, SERVER)
    story.reconnected("web")
    checked(story)
    assert [type(one) for one in story.did(Remember)] == [Remember]
    lost(story)
    assert tried(story) == MptcpTry(0.250)


def test_plain_tcp_is_raced_after_three_round_trips(story: Story) -> None:
    """On a slow line, plain TCP follows after three round trips instead of 250 ms."""
    story.connected(scene=HOME, min_rtt_s=0.4)
    checked(story)
    story.network(CAFE)
    dial = story.did(Dial)[-1]
    assert isinstance(dial, Dial)
    assert dial.mptcp is not None
    assert round(dial.mptcp.plain_after_s, 3) == 1.2


def test_the_configuration_can_forbid_it(story: Story) -> None:
    """With `mptcp = false`, connections stay plain TCP."""
    story.connected(scene=HOME)
    checked(story)
    story.post(Configured(story.t, {"web": ALWAYS}, mptcp=False))
    lost(story)
    assert tried(story) is None


def test_a_record_grows_old(story: Story) -> None:
    """Without any such connection for 30 days, doctor must see the server answer again."""
    story.connected(scene=HOME)
    checked(story)
    story.after(MPTCP_SEEN_S + 1)
    lost(story)
    assert tried(story) is None


@pytest.mark.parametrize("outcome", ["fell-back", "dropped"])
def test_a_network_where_it_fails_is_remembered(story: Story, outcome: Outcome) -> None:
    """Where the option was lost or the SYN dropped, the next connections are plain TCP; elsewhere they are not."""
    story.connected(scene=HOME)
    checked(story)
    lost(story)
    assert tried(story) is not None
    story.established("web", HERE, SERVER, mptcp=outcome)
    story.reconnected("web")
    lost(story)
    assert tried(story) is None
    story.reconnected("web")
    lost(story)
    story.network(CAFE_2)
    story.fails("web", "timed-out")
    story.after(30)
    assert tried(story) is not None


def test_a_dropped_syn_counts_for_a_day(story: Story) -> None:
    """A lost SYN looks like a dropped one, so the agent tries again after a day."""
    story.connected(scene=HOME)
    checked(story)
    lost(story)
    story.established("web", HERE, SERVER, mptcp="dropped")
    story.reconnected("web")
    story.after(MPTCP_PLAIN_S + 1)
    lost(story)
    assert tried(story) is not None


def test_an_answer_clears_the_network(story: Story) -> None:
    """If doctor sees an answer where it failed before, connections use it there again."""
    story.connected(scene=HOME)
    checked(story)
    checked(story, "dropped")
    lost(story)
    assert tried(story) is None
    checked(story)
    assert not story.host("web").mptcp.plain_on


def test_an_unidentified_network_may_be_one_where_it_fails(story: Story) -> None:
    """While the gateway is not resolved, a network may be the one where it failed, so the connection is plain TCP."""
    story.connected(scene=CAFE)
    checked(story, local=THERE)
    checked(story, "dropped", THERE)
    story.network(NOTHING)
    story.forget()
    story.ended("web", kind="died")
    story.network(CAFE_2.without_mac())
    assert tried(story) is None


@pytest.mark.parametrize(("scene", "server"), [(HOME + VPN_ALL, SERVER), (HOME + VPN, "10.99.0.4")])
def test_plain_tcp_where_a_tunnel_carries_the_server(story: Story, scene: Scene, server: str) -> None:
    """With a tunnel for everything, or one that carries the server, the connection is plain TCP."""
    story.connected(scene=scene, server=server)
    checked(story)
    lost(story)
    assert tried(story) is None


def test_the_network_is_stored_once_it_is_identified(story: Story) -> None:
    """A gateway that is resolved only after the failure identifies the network where Multipath TCP failed."""
    story.connected(scene=CAFE)
    checked(story, local=THERE)
    story.network(HOME.without_mac())
    story.established("web", HERE, SERVER, mptcp="dropped")
    story.after(0.3).reconnected("web")
    assert [network.gateway for _, network in story.host("web").mptcp.plain_on] == [""]
    story.network(HOME)
    assert [network.gateway for _, network in story.host("web").mptcp.plain_on] == ["aa:01"]


def test_a_tunnel_elsewhere_gives_its_addresses_to_the_socket(story: Story) -> None:
    """Beside a split tunnel it is used, except for a connection that leaves from the tunnel's address."""
    story.connected(scene=HOME + VPN)
    checked(story)
    lost(story)
    assert tried(story) == MptcpTry(0.250, frozenset({"10.8.0.6"}))


def test_a_tunnel_that_comes_up_replaces_the_connection(story: Story) -> None:
    """If a tunnel then carries the server, a login in the tunnel replaces the master, even if that answers."""
    old = story.connected(scene=HOME, mptcp=True)
    checked(story)
    story.forget()
    story.after(60).network(HOME + VPN_ALL)
    story.after(0.05)
    assert tried(story) is None
    story.established("web", "10.8.0.6", SERVER)
    story.ready("web", local="10.8.0.6")
    [take_over] = story.did(TakeOver)
    assert isinstance(take_over, TakeOver)
    assert take_over.old == old
    assert not take_over.drain
    assert "tunnel=carries" in story.why("web")


def test_once_a_tunnel_carried_everything_connections_are_plain(story: Story) -> None:
    """After a tunnel for everything, connections are plain TCP for 90 days, so that no later one ends a connection.

    The next agent knows it, too.
    """
    story.connected(scene=HOME)
    checked(story)
    story.network(HOME + VPN_ALL)
    story.after(0.05).answered("web")
    story.after(60).network(HOME)
    story.after(0.05).answered("web")
    assert "mptcp-tunnel" in [why.verdict for why in story.whys]
    lost(story)
    assert tried(story) is None
    known = story.host("web").mptcp
    story.post(Remembered(story.t, "web", mptcp=known))
    assert story.host("web").mptcp == known
    story.reconnected("web")
    story.after(MPTCP_TUNNEL_S)
    checked(story)
    lost(story)
    assert tried(story) is not None


def test_a_tunnel_that_is_up_before_the_agent_is_noted_when_it_goes(story: Story) -> None:
    """If the tunnel is up when the agent starts, its end shows that it was there."""
    beginning(story, HOME + VPN_ALL).started()
    story.established("web", "10.8.0.6", SERVER)
    story.reconnected("web", local="10.8.0.6")
    checked(story)
    story.forget()
    story.network(HOME)
    story.after(1)
    assert tried(story) is None


def test_a_tunnel_to_the_server_alone_ends_no_connection_that_answers(story: Story) -> None:
    """A tunnel that is not for everything hides nothing. A connection that answers beside it is kept."""
    old = story.connected(scene=HOME, mptcp=True, peer="10.99.0.4")
    checked(story)
    story.forget()
    story.after(60).network(HOME + VPN)
    story.after(0.05).answered("web")
    story.after(60)
    assert not story.did(Dial)
    assert story.living("web").pid == old.pid


def test_without_a_login_in_the_tunnel_the_connection_is_kept(story: Story) -> None:
    """If the login in the tunnel fails, nothing is ended."""
    story.connected(scene=HOME, mptcp=True)
    story.after(60).network(HOME + VPN_ALL)
    story.fails("web", "timed-out")
    story.after(60)
    assert not story.did(Kill)
    assert not story.did(TakeOver)


def test_a_split_tunnel_beside_the_server_changes_nothing(story: Story) -> None:
    """A tunnel to other networks ends no connection."""
    story.connected(scene=HOME, mptcp=True)
    story.after(60).network(HOME + VPN)
    story.after(5)
    assert not story.did(Dial)


def moving(story: Story, *scenes: Scene) -> None:
    """Begin with a connection that lived in the café before, and take it to these networks in turn."""
    story.connected(scene=CAFE.named("Café"), mptcp=True)
    story.moved["web"] = replace(story.living("web"), local=HERE)
    story.network(HOME)
    story.after(0.1).answered("web")
    assert story.living("web").local == HERE
    story.moved.clear()
    story.adrift.add("web")
    story.tells.clear()
    story.forget()
    for scene in scenes:
        story.after(60).network(scene)


def test_a_master_that_joins_needs_no_login(story: Story) -> None:
    """Where it worked before, it has four round trips to join from the new address, and no login starts meanwhile."""
    moving(story, CAFE.named("Café").without_mac())
    story.after(0.12)
    story.adrift.clear()
    story.moved["web"] = replace(story.living("web"), local=THERE, local_port=4711)
    story.after(0.03).answered("web")
    story.after(5)
    assert not story.did(Dial)
    [kept] = story.told("master-kept")
    [moved] = story.told("moved")
    assert moved.details["by"] == "mptcp"
    assert moved.details["took_ms"] == 150.0
    assert "by=mptcp" in str(kept.evidence)
    assert story.living("web").joins == 2


def test_a_master_that_does_not_join_gets_a_control(story: Story) -> None:
    """If the connection has not joined by then, a login starts beside it."""
    moving(story, CAFE.named("Café").without_mac())
    story.after(0.15)
    assert not story.did(Dial)
    story.after(0.1)
    assert story.did(Dial)


def test_after_two_moves_the_agent_waits_no_longer_than_a_login_takes(story: Story) -> None:
    """Many servers refuse the third move. The control then starts at once, and its success ends the wait."""
    story.connected(scene=HOME, mptcp=True, joins=2)
    story.adrift.add("web")
    story.after(60).network(CAFE)
    assert story.did(Dial)
    story.after(0.6).established("web", THERE, SERVER)
    story.ready("web", local=THERE)
    assert story.did(TakeOver)


def test_on_a_new_network_a_login_starts_at_once(story: Story) -> None:
    """Where it never worked, a middlebox may be in the way, so a login starts at once.

    The agent gives it up once the master has joined.
    """
    moving(story, CAFE_2)
    assert story.did(Dial)
    story.adrift.clear()
    story.moved["web"] = replace(story.living("web"), local="10.30.0.7")
    story.after(0.25)
    story.after(0.05).answered("web")
    assert story.did(Abort)
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("outcome", ["fell-back", "dropped"])
def test_where_it_fails_the_master_is_not_awaited(story: Story, outcome: Outcome) -> None:
    """Once the control shows that Multipath TCP fails here, its success replaces the master without a further wait."""
    moving(story, CAFE_2)
    checked(story)
    story.after(0.05).established("web", "10.30.0.7", SERVER, mptcp=outcome)
    story.after(0.4)
    story.ready("web", local="10.30.0.7")
    assert story.did(TakeOver)


def test_a_time_without_a_network_counts_apart(story: Story) -> None:
    """A move after a gap is timed from the moment when there is a route again."""
    moving(story, NOTHING)
    story.after(20).network(CAFE.named("Café").without_mac())
    story.after(0.1)
    story.adrift.clear()
    story.moved["web"] = replace(story.living("web"), local=THERE, local_port=4711)
    story.after(0.05).answered("web")
    [moved] = story.told("moved")
    assert isinstance(moved, Publish)
    assert 100.0 <= float(str(moved.details["took_ms"])) <= 200.0


def test_all_hosts_of_a_server_learn_from_one_check(story: Story) -> None:
    """Doctor checks each server once. The answer holds for each host on it."""
    story.connected("other", scene=HOME)
    story.connected(scene=HOME)
    checked(story)
    assert story.host("other").mptcp == Mptcp(story.t)
