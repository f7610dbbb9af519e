"""A host whose login needs the user, and that roams by its far relay's port: no move needs a login."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CABLE, CAFE, CAFE_2, HOME, NOTHING, OFFICE, Scene
from tests.stories.teller import ALWAYS, Story
from tests.stories.test_story_login import begins, succeeds
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import (
    AttachByPort,
    BeginRoaming,
    Dial,
    DialBare,
    EndRoaming,
    EnsureForwards,
    Kill,
)
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Touched
from trayagent.core.view import AgentFacts, view

PORT = 60001
ASKS = replace(ALWAYS, interactive=True, roam_port=str(PORT), forwards=(parse("local", "8080:localhost:80"),))
INNER = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)
OUTER_PATH = "/cm/web.outer"


def roaming(story: Story, wish: Wish = ASKS) -> None:
    """Begin with a host that began to roam when the user logged in at home, without an entry in the transcript."""
    plain = story.connected(wish=wish, scene=HOME)
    story.post(r.RoamingLoginBegun(story.t, "web"))  # any other host begins to roam without it
    assert story.host("web").roaming_start.through == plain.pid
    story.post(r.RoamingBegan(story.t, "web", INNER, replace(plain, control_path=OUTER_PATH), PORT))
    opened = tuple(ForwardState(forward, "open") for forward in wish.forwards)
    story.post(e.ForwardsChanged(story.t, "web", INNER.pid, opened))
    story.after(60).forget()


def by_port(story: Story) -> None:
    """Let the attach by port succeed one round trip after it began."""
    story.after(0.06).post(r.RoamingAttachedByPort(story.t, "web", 2))


def blocked(story: Story) -> None:
    """Let the attach by port fail, because a firewall swallows its packets."""
    story.after(10).post(r.RoamingPortFailed(story.t, "web", "no-connection"))


def without_outer(story: Story, scene: Scene = CAFE) -> None:
    """Move, and let the agent end the outer master, which is stale then."""
    story.network(scene)
    by_port(story)
    if (master := story.host("web").master) is not None:
        story.after(0.4).ready("web")
        story.after(0.3).ended("web", master.pid)


def shown(story: Story) -> dict[str, Any]:
    """Return the host in `status --json`."""
    found: dict[str, Any] = view(story.state, AgentFacts("0.1.0", 4000, ""), {}, str, story.t)["hosts"][0]
    return found


def test_it_begins_to_roam_only_at_a_login_at_a_terminal(story: Story) -> None:
    """No login in the background begins to roam it. `no_roaming` names the command that does."""
    story.connected(wish=ASKS, scene=HOME)
    story.after(86400)
    assert not story.did(BeginRoaming)
    assert "trayagent login web" in shown(story)["no_roaming"]


@pytest.mark.parametrize(
    "wish",
    [
        replace(ASKS, roam_port=None),
        replace(ASKS, roam_port=None, roam=True),
        replace(ASKS, interactive=False),
        replace(ASKS, listed=False),
    ],
    ids=["no port", "no port, but roam", "needs no user", "not listed"],
)
def test_no_second_login_is_requested_without_a_use(story: Story, wish: Wish) -> None:
    """Without a port, each move would need a login, so the user is not prompted twice at the first one."""
    story.connected(wish=wish, scene=HOME)
    story.post(r.RoamingLoginBegun(story.t, "web"))
    assert story.host("web").roaming_start.through is None


def test_eight_moves_need_no_login(story: Story) -> None:
    """Each move attaches by the port at once. The agent logs in to nothing, requests no sign-in, and reports no loss.

    The outer master ends at the first move. `status` shows the host as connected without it.
    """
    roaming(story)
    for number, scene in enumerate((CAFE, HOME, CAFE_2, OFFICE, CABLE, CAFE, HOME, CAFE_2)):
        without_outer(story, scene)
        story.after(600)
        assert len(story.did(AttachByPort)) == number + 1
        assert story.shown("web") == "connected"
        assert story.problem("web") is None
    assert not story.did(Dial)
    assert len(story.did(DialBare)) == 1
    for name in ("sign-in-needed", "disconnected", "connect-failed"):
        assert not story.told(name)
    moved = story.told("moved")
    assert len(moved) == 8
    assert {one.details["by"] for one in moved} == {"port"}
    assert [one.details["took_ms"] for one in moved] == pytest.approx([60] * 8)
    now = shown(story)
    assert now["pid"] is None
    assert now["next_retry"] is None
    assert now["roaming"] | {"pid": 900, "by": "port", "attached": True, "moves": 8} == now["roaming"]
    assert [one["state"] for one in now["forwards"]] == ["open"]


def test_the_forwards_are_requested_without_an_outer_master(story: Story) -> None:
    """A forward that is due is requested through the inner master, while only the port carries the link."""
    roaming(story)
    without_outer(story)
    story.forget()
    again = replace(ASKS, forwards=(parse("local", "8081:localhost:80"),))
    story.configured(web=again)
    (action,) = story.did(EnsureForwards)
    assert isinstance(action, EnsureForwards)
    assert action.master == INNER


def test_without_a_network_the_sessions_wait(story: Story) -> None:
    """Without a network, `status` shows no working link. When it is back, the port is attached at once."""
    roaming(story)
    without_outer(story)
    story.forget()
    story.network(NOTHING)
    assert story.shown("web") == "offline"
    assert not shown(story)["roaming"]["attached"]
    assert [one["state"] for one in shown(story)["forwards"]] == ["closed"]
    story.after(3600).network(CAFE_2)
    assert len(story.did(AttachByPort)) == 1
    assert story.shown("web") == "connecting"
    by_port(story)
    assert story.shown("web") == "connected"
    assert story.told("moved")[-1].details["took_ms"] == pytest.approx(60)
    assert not story.told("sign-in-needed")


def test_a_blocked_port_notifies_once_until_it_works(story: Story) -> None:
    """Where the port is blocked, the sessions wait, and the user is notified once that a login is needed.

    The agent tries the port less and less often. On a network where it works, the sessions continue without a login.
    """
    roaming(story)
    without_outer(story)
    story.forget()
    story.network(CAFE_2)
    story.after(9)
    assert not story.told("sign-in-needed")
    story.after(1).post(r.RoamingPortFailed(story.t, "web", "no-connection"))
    assert story.shown("web") == "needs-sign-in"
    for _ in range(6):
        tries = len(story.did(AttachByPort))
        while len(story.did(AttachByPort)) == tries:
            story.after(1)
        blocked(story)
    assert story.t > 120
    story.network(OFFICE)
    blocked(story)
    assert len(story.told("sign-in-needed")) == 1
    assert not story.did(Dial)
    assert not story.did(EndRoaming)
    story.network(HOME)
    by_port(story)
    assert story.shown("web") == "connected"
    assert story.problem("web") is None


def test_a_login_carries_the_sessions_where_the_port_is_blocked(story: Story) -> None:
    """Where the port is blocked, the user's login makes an outer master, and its channel carries the sessions."""
    roaming(story)
    without_outer(story)
    story.network(CAFE_2)
    blocked(story)
    story.forget()
    begins(story)
    story.after(3)
    succeeds(story)
    pid = story.living("web").pid
    story.post(r.RoamingAttached(story.t, "web", pid, 2))
    assert story.shown("web") == "connected"
    assert story.host("web").roaming.inner == INNER  # type: ignore[union-attr]
    story.after(3600)
    assert not story.did(AttachByPort)


def test_a_lost_link_is_attached_again(story: Story) -> None:
    """If the TCP connection is lost, the port is attached again at once; if that happens again and again, later."""
    roaming(story)
    without_outer(story)
    story.after(3600).forget()
    story.post(r.RoamingAway(story.t, "web", "closed"))
    assert len(story.did(AttachByPort)) == 1
    for _ in range(200):
        by_port(story)
        story.after(0.06).post(r.RoamingAway(story.t, "web", "closed"))
    assert len(story.did(AttachByPort)) < 12
    assert not story.told("sign-in-needed")


@pytest.mark.parametrize("what", ["flicker", "wake"])
def test_a_flicker_or_a_sleep_is_followed_by_one_attach(story: Story, what: str) -> None:
    """After a flicker of its link or a sleep, the machine may be elsewhere, so the port is attached again, once."""
    roaming(story)
    without_outer(story)
    story.after(3600).forget()
    if what == "wake":
        story.post(e.Woke(story.t, 3600.0))
    else:
        story.network(CAFE, Touched(links=frozenset({"wlan0"})))
    assert len(story.did(AttachByPort)) == 1
    by_port(story)
    story.after(3600)
    assert len(story.did(AttachByPort)) == 1
    assert story.shown("web") == "connected"
    assert len(story.told("moved")) == 1  # to this network, before


def test_another_interface_does_not_concern_the_link(story: Story) -> None:
    """What happens on an interface that the link does not use causes no attach."""
    roaming(story)
    without_outer(story)
    story.after(60).forget()
    story.network(CAFE, Touched(links=frozenset({"eth0"})))
    assert not story.did(AttachByPort)


def test_the_next_agent_continues_by_the_port(story: Story) -> None:
    """The next agent finds the inner master, whose link is on the port. It attaches there from its present network."""
    story.configured(web=ASKS)
    story.resolved("web")
    story.network(CAFE)
    story.post(r.RoamingFound(story.t, "web", INNER, OUTER_PATH, "203.0.113.10", PORT, by_port=True))
    story.post(e.Started(story.t))
    (action,) = story.did(AttachByPort)
    assert isinstance(action, AttachByPort)
    assert (action.address, action.port) == ("203.0.113.10", PORT)
    assert not story.told("sign-in-needed")
    by_port(story)
    assert story.shown("web") == "connected"
    assert not story.did(Dial)
    assert not story.told("moved")


def test_a_disconnect_ends_the_sessions_through_the_port(story: Story) -> None:
    """Without an outer master, `disconnect` ends the inner one, whose near relay reports that through the port."""
    roaming(story)
    without_outer(story)
    story.forget()
    story.post(user_events.UserDisconnect(story.t, ("web",)))
    assert len(story.did(EndRoaming)) == 1
    assert not story.did(Kill)
    story.ended("web", INNER.pid, by_request=False)
    assert story.shown("web") == "idle"
    story.after(3600)
    assert not story.did(AttachByPort)


def test_the_end_of_the_outer_master_is_no_loss(story: Story) -> None:
    """If the outer master ends by itself while the port carries the sessions, nothing is reported as lost."""
    roaming(story)
    story.network(CAFE)
    by_port(story)
    pid = story.living("web").pid
    story.ended("web", pid, kind="died")
    assert story.shown("web") == "connected"
    assert not story.told("disconnected")
    assert not story.told("sign-in-needed")


def test_a_silent_port_is_attached_again_by_use(story: Story) -> None:
    """If a session's data gets no acknowledgement on the port, the port is attached again."""
    roaming(story)
    without_outer(story)
    story.after(3600).forget()
    story.post(r.RoamingStalled(story.t, "web"))
    story.post(r.RoamingAway(story.t, "web", "stalled"))
    assert len(story.did(AttachByPort)) == 1
    assert story.host("web").roaming.port_retry_at == inf  # type: ignore[union-attr]


def test_an_outer_master_beside_the_port_gives_no_address(story: Story) -> None:
    """While the port carries the link, a new outer master may be on another machine, so its address is not taken."""
    roaming(story, replace(ASKS, interactive=False, roam=True))
    story.network(CAFE)
    by_port(story)
    story.after(0.3).ready("web", peer="203.0.113.12")
    story.post(r.RoamingAttached(story.t, "web", story.host("web").attempt.ready.pid, 2, by_port=True))  # type: ignore[union-attr]
    assert story.host("web").roaming.address == "203.0.113.10"  # type: ignore[union-attr]
