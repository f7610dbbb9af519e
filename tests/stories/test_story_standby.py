"""A standby: a spare master on a second network, which is used when the first network is gone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CABLE, CAFE, HOME, OFFICE, VPN, VPN_ALL, Scene, tunnel
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, SERVER, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Abort, AttachRoaming, Dial, Discard, Mute, SendProbe, TakeOver
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network, Route, Touched
from trayagent.core.facts.network_manager import Link, ManagerFacts, NetworkName, VpnConnection
from trayagent.core.policy.spare_route import spare_of

SPARED = replace(ALWAYS, standby=True)
BOTH = CABLE + HOME
UNMETERED = ManagerFacts(
    running=True,
    connectivity="full",
    network=NetworkName("Wired", None, "eth0"),
    links=(
        Link("eth0", NetworkName("Wired"), metered=False),
        Link("wlan0", NetworkName("Home", "Home"), metered=False),
    ),
)
SETTLED_S = 6.0


def manager(story: Story, facts: ManagerFacts = UNMETERED) -> None:
    """Let NetworkManager report these facts."""
    story.post(e.ManagerReported(story.t, facts))


def begun(story: Story, wish: Wish = SPARED, scene: Scene = BOTH, **facts: Any) -> Master:
    """Begin with a host that is connected through the cable, beside a Wi-Fi."""
    manager(story)
    facts = {"local": "192.168.10.3", "host_key": HOST_KEY, **facts}
    first = story.connected(wish=wish, scene=scene, **facts)
    story.forget()
    return first


def dialled(story: Story) -> Dial:
    """Return the last login of a spare master."""
    found = [x for x in story.did(Dial) if isinstance(x, Dial) and x.purpose == "standby"]
    return found[-1]


def ready(story: Story, **facts: Any) -> Master:
    """Let the login of the spare master succeed."""
    key = facts.pop("host_key", HOST_KEY)
    spare = story.master("web", started_by_agent=True, host_key=key, local="192.168.10.2", **facts)
    spare = replace(spare, control_path="/cm/web.spare", bound="wlan0", spare=True, muted=False)
    story.post(e.AttemptReady(story.t, "web", dialled(story).attempt, spare, host_key=key))
    return spare


def fails(story: Story, kind: FailureKind, *, positive: bool = False) -> None:
    """Let the login of the spare master fail."""
    said = failure(kind, positive=positive)
    key = HOST_KEY if positive else None
    story.post(e.AttemptFailed(story.t, "web", dialled(story).attempt, said, host_key=key))


def spared(story: Story, wish: Wish = SPARED) -> tuple[Master, Master]:
    """Begin with a host that has a spare master. Return the host's master and the spare one."""
    first = begun(story, wish)
    story.after(SETTLED_S)
    spare = ready(story)
    story.after(60).forget()
    return first, spare


def answers(story: Story, spare: Master) -> None:
    """Let the spare master answer."""
    story.post(e.ProbeAnswered(story.t, "web", spare.pid), "the spare master answers")


def obstacle(story: Story) -> str | None:
    """Return why the host may have no spare master."""
    return spare_of(story.host("web"), story.state).obstacle


def test_a_spare_master_is_made_on_the_second_network(story: Story) -> None:
    """Five seconds after everything settled, a spare master is made through the second interface."""
    begun(story)
    story.after(4)
    assert not story.did(Dial)
    story.after(2)
    dial = dialled(story)
    assert (dial.interface, dial.address, dial.background) == ("wlan0", SERVER, False)
    spare = ready(story)
    assert story.host("web").standby.master == spare
    story.forget()
    story.after(3600)
    assert not story.actions, "an idle spare master causes no action"


def test_the_second_network_takes_over_after_one_answer(story: Story) -> None:
    """If the cable's network goes away, the spare master is asked at once, and takes over when it answers.

    The old master's address is gone, so it is ended after the usual 250 ms.
    """
    first, spare = spared(story)
    story.network(HOME)
    story.after(0.05)
    answers(story, spare)
    story.after(0.25)
    story.took_over("web")
    story.expect(f"""
        66.000 network: home
                web: row 0 suspect
                web: row 0 standby-asked
            probe web pid={spare.pid}
                web: row 4 control
        66.050 the spare master answers
                web: row 0 standby-answers
        66.250 the time came for web
                web: row 9 replace
            take over web #2 pid={spare.pid} old={first.pid}
        66.300 took over web pid={spare.pid}
                web: row 0 connected
            ensure forwards web
    """)
    assert not story.did(Dial)
    assert story.living("web").bound == "wlan0"
    replaced = next(words for words in reversed(story.sentences()) if words and "replaces" in words)
    assert replaced == "the standby answers and replaces the old connection, which does not"


def test_a_pulled_cable_lets_the_old_master_drain(story: Story) -> None:
    """Without carrier, but with its address, the old master drains: its sessions continue when the cable returns."""
    first, spare = spared(story)
    story.network(BOTH.down("eth0"))
    story.after(0.05)
    answers(story, spare)
    story.took_over("web", sessions=2)
    story.expect(f"""
        66.000 network: cable + home, eth0 without carrier
                web: row 0 suspect
                web: row 0 standby-asked
                web: row 2 offline
            probe web pid={spare.pid}
        66.050 the spare master answers
                web: row 0 standby-answers
                web: row 0 replace
            take over web #2 pid={spare.pid} old={first.pid} drains
        66.050 took over web pid={spare.pid} drained={first.pid}
                web: row 0 draining
                web: row 0 connected
                web: row 2 offline
            ensure forwards web
    """)
    assert story.shown("web") == "connected"


INNER = Master(900, 7, "/cm/web", started_by_agent=True, direct=False)


def roaming(story: Story) -> tuple[Master, Master]:
    """Begin with a host that roams and has a spare master. Return its outer master and the spare one."""
    plain = begun(story, replace(SPARED, roam=True))
    outer = replace(plain, control_path="/cm/web.outer")
    story.post(r.RoamingBegan(story.t, "web", INNER, outer))
    story.after(SETTLED_S)
    spare = ready(story)
    story.after(60).forget()
    return outer, spare


def attached(story: Story, outer: Master) -> None:
    """Let an attach through this outer master succeed."""
    story.post(r.RoamingAttached(story.t, "web", outer.pid, 2), f"attached to {outer.pid}")


def test_sessions_continue_through_the_spare_master(story: Story) -> None:
    """A host that roams attaches through the spare master at once. The attach is the proof, and is made once."""
    outer, spare = roaming(story)
    story.network(HOME)
    assert [x.master for x in story.did(AttachRoaming) if isinstance(x, AttachRoaming)] == [spare]
    story.after(0.06)
    attached(story, spare)
    (moved,) = story.told("moved")
    assert (moved.details["by"], moved.details["took_ms"]) == ("standby", 60.0)
    story.after(0.25)
    story.took_over("web")
    story.after(30)
    assert story.living("web").pid == spare.pid
    assert len(story.did(AttachRoaming)) == 1
    assert not [x for x in story.did(Dial) if isinstance(x, Dial) and x.purpose != "standby"]
    (connected,) = story.told("connected")
    assert connected.details["by"] == "standby"
    assert outer.pid not in {
        host.master.pid for host in story.state.hosts.values() if host.master is not None
    }


def test_the_old_master_answers_and_stays(story: Story) -> None:
    """If the old outer master answers after all, it stays, gets the sessions back, and the spare one stays spare."""
    outer, spare = roaming(story)
    story.network(BOTH.down("eth0"))
    story.after(0.1)
    attached(story, spare)
    (moved,) = story.told("moved")
    assert moved.details["took_ms"] == 100.0
    story.forget()
    story.network(BOTH)
    story.after(0.05)
    if story.host("web").doubt.probe is None:
        story.after(0.5)
    story.answered("web")
    assert story.living("web").pid == outer.pid
    assert story.host("web").standby.master == spare
    (back,) = story.did(AttachRoaming)
    assert isinstance(back, AttachRoaming) and back.master.pid == outer.pid
    assert not story.did(Discard)


def test_a_silent_spare_master_delays_a_login_by_150_ms(story: Story) -> None:
    """If the spare master does not answer, the usual login starts 150 ms later. After 5 s the spare one is lost."""
    _, spare = spared(story)
    story.network(HOME)
    story.after(0.140)
    assert not story.did(Dial)
    story.after(0.020)
    (dial,) = story.did(Dial)
    assert isinstance(dial, Dial) and dial.purpose == "control" and dial.interface is None
    story.after(5)
    assert [x.master for x in story.did(Discard) if isinstance(x, Discard)] == [spare]
    assert story.host("web").standby.retry_at == pytest.approx(story.t + 60, abs=1)


def test_a_late_answer_of_the_spare_master_ends_the_login(story: Story) -> None:
    """An answer after 150 ms still counts: the login that started meanwhile is given up."""
    first, spare = spared(story)
    story.network(HOME)
    story.after(0.160)
    story.forget()
    answers(story, spare)
    story.after(0.1)
    story.took_over("web")
    assert len(story.did(Abort)) == 1
    assert story.living("web").pid == spare.pid != first.pid


def test_a_silent_first_network_is_left_for_the_second(story: Story) -> None:
    """If the old master stays silent, its control is the answer of the spare master, not a login."""
    first, spare = spared(story)
    story.post(user_events.UserViewedStatus(story.t, ("web",)))
    story.after(0.6)
    assert any(isinstance(x, SendProbe) and x.master.pid == spare.pid for x in story.did(SendProbe))
    answers(story, spare)
    story.after(20)
    (taken,) = story.did(TakeOver)
    assert isinstance(taken, TakeOver) and taken.old is not None
    assert (taken.master.pid, taken.old.pid) == (spare.pid, first.pid)
    assert not story.did(Dial)


def test_the_answer_of_a_spare_master_excuses_one_lost_retransmission(story: Story) -> None:
    """The spare master is on another line, so it does not show whether the old master's own line loses packets."""
    _, spare = spared(story)
    story.network(BOTH, Touched(lost=True))
    story.due["web"] = story.t + 1
    story.after(0.5)
    answers(story, spare)
    story.after(0.3).due["web"] = story.t + 2
    story.after(1.5)
    assert not story.did(TakeOver)
    story.after(2)
    assert story.did(TakeOver)


def test_the_end_of_the_master_uses_the_spare_one(story: Story) -> None:
    """If the master dies, the spare one takes its place after one answer."""
    _, spare = spared(story)
    story.ended("web", kind="died")
    story.after(0.05)
    answers(story, spare)
    story.took_over("web")
    assert story.living("web").pid == spare.pid
    assert not story.did(Dial)


def without_default(scene: Scene) -> Scene:
    """Return a scene without default routes."""
    return replace(scene, routes=tuple(route for route in scene.routes if route.prefix != "0.0.0.0/0"))


def metered(interface: str, value: bool | None) -> ManagerFacts:
    """Return what NetworkManager reports if this interface is or may be metered."""
    links = tuple(replace(x, metered=value) if x.interface == interface else x for x in UNMETERED.links)
    return replace(UNMETERED, links=links)


TUNNELED = tunnel("VPN for the server", "tun0", "10.8.0.6/24", f"{SERVER}/32")
OTHER_TABLE = Scene("other table", (), (Route("0.0.0.0/0", "eth0", "192.168.10.1", "192.168.10.3", 0, 100),))


@pytest.mark.parametrize(
    ("wish", "scene", "facts", "why"),
    [
        (SPARED, CABLE, UNMETERED, "one-network"),
        (ALWAYS, BOTH, UNMETERED, "off"),
        (replace(ON_USE, standby=True), BOTH, UNMETERED, "not-always"),
        (replace(SPARED, interactive=True), BOTH, UNMETERED, "needs-user"),
        (replace(SPARED, vpn="corp"), BOTH, UNMETERED, "vpn"),
        (SPARED, BOTH, metered("wlan0", value=True), "metered"),
        (SPARED, BOTH, metered("wlan0", value=None), "metered"),
        (SPARED, BOTH, replace(UNMETERED, links=UNMETERED.links[:1]), "metered"),
        (SPARED, BOTH, ManagerFacts(), "metered"),
        (SPARED, BOTH + VPN_ALL, UNMETERED, "tunnel"),
        (SPARED, BOTH + TUNNELED, UNMETERED, "tunnel"),
        (SPARED, BOTH, replace(UNMETERED, vpns=(VpnConnection("Corp", "1", "connecting"),)), "tunnel"),
        (SPARED, BOTH, replace(UNMETERED, vpns=(VpnConnection("IPsec", "1", "up"),)), "tunnel"),
        (SPARED, CABLE + without_default(HOME), UNMETERED, "one-network"),
        (SPARED, OTHER_TABLE + BOTH, UNMETERED, "policy-routing"),
        (replace(SPARED, networks=("Wired",)), BOTH, UNMETERED, "network"),
        (replace(SPARED, networks=("!Home",)), BOTH, UNMETERED, "network"),
        (SPARED, BOTH, replace(UNMETERED, connectivity="portal"), "network"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_no_spare_master_is_allowed(
    story: Story, wish: Wish, scene: Scene, facts: ManagerFacts, why: str
) -> None:
    """Each of these rules forbids a spare master. None is made, and the view says why."""
    begun(story, wish, scene)
    manager(story, facts)
    story.after(3600)
    assert obstacle(story) == why
    assert not story.did(Dial)


@pytest.mark.parametrize(
    ("scene", "facts", "wish"),
    [
        (BOTH + VPN, UNMETERED, SPARED),  # it leads to an internal network only
        (BOTH, UNMETERED, replace(SPARED, networks=("Wired", "Home"))),
        (OFFICE + HOME, UNMETERED, SPARED),
    ],
)
def test_where_a_spare_master_is_allowed(story: Story, scene: Scene, facts: ManagerFacts, wish: Wish) -> None:
    """A tunnel to other addresses, and networks that the host may use, forbid nothing."""
    begun(story, wish, scene, local=scene.interfaces[0].addresses[0].ip)
    manager(story, facts)
    assert obstacle(story) is None
    story.after(SETTLED_S)
    assert dialled(story).interface == "wlan0"


def test_a_wall_in_the_routing_table_forbids_it(story: Story) -> None:
    """If the kernel would reject packets once the first interface is gone (a kill switch), there is no spare master."""
    begun(story)
    wall = Route("0.0.0.0/0", "", metric=300)
    story.post(e.NetworkRead(story.t, replace(story.state.snapshot, walls=(wall,))), "a wall")
    assert obstacle(story) == "policy-routing"
    story.post(
        e.NetworkRead(story.t, replace(story.state.snapshot, walls=(replace(wall, metric=900),))), "behind"
    )
    assert obstacle(story) is None


def test_a_private_address_needs_a_network_where_it_was_reached(story: Story) -> None:
    """On a network where a private address was never reached, another machine may have it: no spare master there."""
    manager(story)
    facts: dict[str, Any] = {"local": "172.20.0.5", "host_key": HOST_KEY, "peer": "10.1.2.3"}
    story.connected(wish=SPARED, scene=OFFICE + HOME, server="10.1.2.3", **facts)
    story.after(600)
    assert obstacle(story) == "network"
    host = story.host("web")
    known = host.reached.networks | {Network("wlan0", "aa:01", "Home")}
    story.state.hosts["web"] = replace(host, reached=replace(host.reached, networks=known))  # type: ignore[index]
    assert obstacle(story) is None


def tunnel_up(story: Story) -> None:
    story.network(BOTH + VPN_ALL)


def metered_now(story: Story) -> None:
    manager(story, metered("wlan0", value=True))


def disconnected(story: Story) -> None:
    story.post(user_events.UserDisconnect(story.t, ("web",)))


def stopped(story: Story) -> None:
    story.post(user_events.UserStopMasters(story.t))


def switched_off(story: Story) -> None:
    story.configured(web=ALWAYS)


def unlisted(story: Story) -> None:
    story.configured()


def moved_away(story: Story) -> None:
    story.network(CABLE + CAFE)


@pytest.mark.parametrize(
    ("happens", "why", "silently"),
    [
        (tunnel_up, "tunnel", True),
        (metered_now, "metered", False),
        (disconnected, "off", False),
        (stopped, "off", False),
        (switched_off, "off", False),
        (unlisted, "off", False),
        (moved_away, "address-gone", False),
    ],
)
@pytest.mark.parametrize("during_login", [False, True])
def test_what_ends_a_spare_master(
    story: Story, happens: Any, why: str, silently: bool, during_login: bool
) -> None:
    """Each of these ends the spare master at once, or the login that makes it. Beside a tunnel it sends nothing."""
    begun(story)
    story.after(SETTLED_S)
    spare = None if during_login else ready(story)
    story.forget()
    happens(story)
    (ended,) = story.did(Abort if during_login else Discard)
    assert isinstance(ended, Abort if during_login else Discard)
    assert ended.silently is silently
    assert isinstance(ended, Abort) or ended.master == spare
    assert story.host("web").spare is None
    assert any(w.verdict == "standby-ended" and dict(w.evidence.pairs)["why"] == why for w in story.whys)
    story.after(1)
    assert len(story.did(Abort if during_login else Discard)) == 1


def test_a_refused_login_is_not_repeated(story: Story) -> None:
    """A refused login counts for the account, and is not repeated until the user requests a connection.

    The host itself may still log in.
    """
    begun(story)
    story.after(SETTLED_S)
    fails(story, "auth", positive=True)
    story.after(24 * 3600)
    assert len(story.did(Dial)) == 1
    assert len(story.host("web").login.refused) == 1
    assert story.host("web").retry.kind is None
    story.post(user_events.UserReconnect(story.t, ("web",)))
    story.reconnected("web", local="192.168.10.3")
    story.after(SETTLED_S)
    assert dialled(story).interface == "wlan0"


def test_a_refused_login_does_not_hold_the_host_back(story: Story) -> None:
    """After the spare master's login was refused, the host itself may still log in on its next network."""
    begun(story)
    story.after(SETTLED_S)
    fails(story, "auth", positive=True)
    story.forget()
    story.network(HOME)
    story.after(0.1)
    (dial,) = story.did(Dial)
    assert isinstance(dial, Dial) and dial.purpose == "control"


def test_a_lost_spare_master_is_replaced_ever_more_rarely(story: Story) -> None:
    """The pause doubles from 60 s to an hour while spare masters are lost or logins fail."""
    begun(story)
    story.after(SETTLED_S)
    pauses = []
    for number in range(8):
        if number == 0:
            story.ended("web", ready(story).pid, kind="died")
        else:
            fails(story, "timed-out")
        failed_at, logins = story.t, len(story.did(Dial))
        while len(story.did(Dial)) == logins:
            story.after(10)
        pauses.append(story.t - failed_at)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_spare_master_comes_last(story: Story) -> None:
    """While another host of the server logs in, no spare master is made."""
    begun(story)
    story.configured(web=SPARED, other=ALWAYS)
    story.resolved("other")
    story.after(60)
    assert not [x for x in story.did(Dial) if isinstance(x, Dial) and x.purpose == "standby"]
    story.reconnected("other")
    assert story.host("web").standby.attempt is not None


def test_a_login_in_progress_ends_when_the_first_network_is_lost(story: Story) -> None:
    """A spare master that is not ready yet is of no use: its login ends, and the usual one starts at once."""
    begun(story)
    story.after(SETTLED_S)
    story.forget()
    story.network(HOME)
    (dial,) = story.did(Dial)
    assert isinstance(dial, Dial) and dial.purpose == "control"
    assert len(story.did(Abort)) == 1


def test_another_machine_is_no_spare_master(story: Story) -> None:
    """A login that proved another host key is ended at once."""
    begun(story)
    story.after(SETTLED_S)
    other = ready(story, host_key="ssh-ed25519 SHA256:other")
    assert [x.master for x in story.did(Discard) if isinstance(x, Discard)] == [other]
    assert story.host("web").spare is None


def test_a_pause_leaves_the_spare_master_alone(story: Story) -> None:
    """During a pause the spare master stays idle, whatever the network does, and none is made."""
    spared(story)
    story.post(user_events.UserPause(story.t, ("web",), None))
    story.network(HOME)
    story.after(60)
    assert not [x for x in story.actions if isinstance(x, (Dial, Discard, SendProbe, TakeOver))]


def test_after_a_move_the_next_spare_master_is_on_the_other_interface(story: Story) -> None:
    """When the cable is back, the host stays on the Wi-Fi, and the cable gets the spare master."""
    _, spare = spared(story)
    story.network(HOME)
    story.after(0.05)
    answers(story, spare)
    story.after(0.25)
    story.took_over("web")
    story.network(BOTH)
    story.forget()
    story.after(SETTLED_S)
    assert dialled(story).interface == "eth0"
    assert story.living("web").pid == spare.pid


def promoted(story: Story) -> Master:
    """Let the spare master become the host's master, after the cable's network went away."""
    _, spare = spared(story)
    story.network(HOME)
    story.after(0.05)
    answers(story, spare)
    story.after(0.25)
    story.took_over("web")
    story.after(60).forget()
    return spare


def muted(story: Story) -> list[bool]:
    """Return which masters were to send nothing, and which were to send again."""
    return [x.muted for x in story.did(Mute) if isinstance(x, Mute)]


def test_a_standby_in_use_sends_nothing_beside_a_tunnel(story: Story) -> None:
    """If a tunnel comes up that carries the server, a standby in use is muted at once. A login in the tunnel follows.

    Without the tunnel it sends again.
    """
    spare = promoted(story)
    story.network(HOME + VPN_ALL)
    assert muted(story) == [True]
    story.after(0.05)
    assert story.did(Dial)
    assert story.shown("web") != "connected"
    story.after(0.05).network(HOME)
    assert muted(story) == [True, False]
    assert not story.did(TakeOver)
    story.after(0.05).answered("web")
    story.after(5)
    assert story.living("web").pid == spare.pid
    assert story.shown("web") == "connected"


def test_a_login_in_the_tunnel_replaces_a_standby_in_use(story: Story) -> None:
    """The login in the tunnel replaces the muted connection at once. If that login fails, the connection is kept."""
    spare = promoted(story)
    story.network(HOME + VPN_ALL)
    story.after(0.05)
    story.established("web", "10.8.0.6", SERVER)
    story.ready("web", local="10.8.0.6")
    [take_over] = story.did(TakeOver)
    assert isinstance(take_over, TakeOver)
    assert take_over.old is not None
    assert (take_over.old.pid, take_over.drain) == (spare.pid, False)


def test_a_pause_does_not_let_a_standby_in_use_send_beside_a_tunnel(story: Story) -> None:
    """During a pause, a standby in use is muted, too, and nothing else happens to it."""
    promoted(story)
    story.post(user_events.UserPause(story.t, ("web",), None))
    story.network(HOME + VPN_ALL)
    story.after(60)
    assert muted(story) == [True]
    assert not story.did(Dial)


def test_a_tunnel_elsewhere_leaves_a_standby_in_use_alone(story: Story) -> None:
    """A tunnel that does not carry the server changes nothing for a standby in use."""
    promoted(story)
    story.network(HOME + VPN)
    story.after(60)
    assert not muted(story)
    assert story.shown("web") == "connected"
