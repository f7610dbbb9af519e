"""The budgets that delay logins, with moves, hostile networks, and many hosts on one server."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, CAFE_2, HOME, NOTHING, Scene, lan, tunnel
from tests.stories.teller import HOST_KEY, SERVER, Story
from trayagent.core.display_state import delay
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Abort, Dial
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.network import Touched
from trayagent.core.facts.time_constants import (
    CARRIER_BACK_S,
    UNAUTHENTICATED_PER_SERVER,
    UNFINISHED_PER_WINDOW,
)

INTERNAL = "10.99.0.10"
FOUR = ("web", "b", "c", "d")


def dialled(story: Story, name: str = "web") -> int:
    """Return the number of logins so far."""
    return len(story.did(Dial, name))


def waits_until(story: Story, name: str = "web") -> float | None:
    """Return the time until which the host's next login waits."""
    delayed = delay(story.host(name), story.state, story.t)
    return delayed.at if delayed is not None else None


def arrive(story: Story, scene: Scene, names: tuple[str, ...] = ("web",)) -> None:
    """Move to a scene, and let all attempts establish their connections there."""
    story.network(scene)
    for name in names:
        if story.host(name).attempt is not None:
            story.established(name)


def test_two_moves_hold_up_none_of_four_hosts_on_one_server(story: Story) -> None:
    """The second move cuts off the first move's logins. The server refused no login, so all hosts log in at once."""
    for name in FOUR:
        story.connected(name, scene=HOME)
    story.after(60)
    arrive(story, CAFE, FOUR)
    story.after(0.7)
    arrive(story, HOME.without_mac(), FOUR)
    story.after(0.7)
    arrive(story, CAFE_2, FOUR)
    for _ in range(10):
        for name in FOUR:
            attempt = story.host(name).attempt
            if attempt is not None and attempt.ready is None:
                story.ready(name, local="10.30.0.7")
        story.after(0.3)
        for name in FOUR:
            attempt = story.host(name).attempt
            if attempt is not None and attempt.taking_over:
                story.took_over(name)
    assert [story.shown(name) for name in FOUR] == ["connected"] * 4
    assert story.t < 66


def test_logins_that_succeed_do_not_delay_a_user_who_moves(story: Story) -> None:
    """After twelve moves in a minute, each with a login, the last login is as fast as the first."""
    story.connected(scene=HOME)
    story.after(60)
    for number in range(12):
        story.network((CAFE, HOME)[number % 2])
        assert dialled(story) == 1, f"move {number}"
        story.after(0.3)
        story.reconnected()
        story.after(4.7)


def test_moves_before_the_server_saw_anything_cost_nothing(story: Story) -> None:
    """After thirty moves in half a minute, too fast for any connection, the next login begins at once."""
    story.connected(scene=HOME)
    story.after(60)
    for number in range(30):
        story.network((CAFE, HOME)[number % 2])
        story.after(1)
    story.forget()
    story.network(CAFE_2)
    assert dialled(story) == 1


@pytest.mark.parametrize("kind", ["dns", "timed-out", "unreachable"])
def test_a_failure_that_no_server_saw_does_not_delay_the_next_network(story: Story, kind: str) -> None:
    """Failures that no server saw (no name, no answer, no route) allow an attempt in each of seven networks at once."""
    story.connected(scene=HOME)
    story.after(60).ended("web", kind="died")
    story.forget()
    for number in range(8):
        story.fails("web", kind)  # type: ignore[arg-type]
        story.network((CAFE, HOME, CAFE_2)[number % 3])
        story.after(0.5)
    assert dialled(story) == 8


def test_five_connections_cut_short_in_one_network_are_waited_for(story: Story) -> None:
    """After five cut connections in one network, the host waits, and status shows until when and why.

    The server keeps each of them until its LoginGraceTime.
    """
    story.connected(scene=HOME)
    story.after(60)
    for _ in range(UNFINISHED_PER_WINDOW):
        arrive(story, CAFE)
        story.after(1).network(NOTHING)
        story.after(0.1)
    first = 61.0
    story.network(CAFE)
    assert dialled(story) == UNFINISHED_PER_WINDOW
    assert (story.shown("web"), waits_until(story)) == ("waiting", first + 30)
    assert story.problem("web") == "rate-limited"
    assert "busy=yes" in story.why("web")
    story.after(first + 30.1 - story.t)
    assert dialled(story) == UNFINISHED_PER_WINDOW + 1


@pytest.mark.parametrize("master", [True, False])
def test_a_carrier_that_flaps_cuts_no_login_short(story: Story, master: bool) -> None:
    """A login that the server has seen continues after a short loss of the carrier, because its address stays.

    Ten flaps use up no budget. If the carrier stays away, the login ends after 2 s.
    """
    story.connected(scene=HOME)
    story.after(60)
    if not master:
        story.ended("web", kind="died")
    arrive(story, CAFE)
    story.forget()
    for _ in range(10):
        story.after(0.1).network(CAFE.down("wlan0"))
        story.after(0.4).network(CAFE)
    assert story.did(Abort) == []
    story.network(CAFE.down("wlan0"))
    story.after(CARRIER_BACK_S - 0.1)
    assert story.did(Abort) == []
    story.after(0.2)
    assert len(story.did(Abort)) == 1
    story.network(CAFE)
    assert story.host("web").attempt is not None


def test_a_login_does_not_wait_for_another_network_with_its_address(story: Story) -> None:
    """If the carrier returns on another network with the same address, the login starts again."""
    twin = lan("twin", "wlan0", "10.20.0.7/24", gateway="10.20.0.1", mac="ff:01")
    story.connected(scene=HOME)
    story.after(60)
    arrive(story, CAFE)
    first = story.host("web").attempt
    story.after(0.1).network(CAFE.down("wlan0"))
    story.after(0.4).network(twin)
    second = story.host("web").attempt
    assert first is not None and second is not None and first.source == second.source
    assert first.id != second.id


def test_a_network_that_accepts_and_closes_does_not_hold_up_the_next_one(story: Story) -> None:
    """A café's gateway that drops everything delays the host only in the café, not at home."""
    story.connected(scene=HOME)
    story.after(60).ended("web", kind="died")
    story.network(CAFE)
    for _ in range(4):
        story.fails("web", "dropped")
        until = waits_until(story)
        assert until is not None
        story.after(until - story.t)
    story.fails("web", "dropped")
    until = waits_until(story)
    assert until is not None
    assert until > story.t + 250
    story.forget()
    story.after(1).network(HOME)
    assert dialled(story) == 1
    story.fails("web", "timed-out")
    story.after(0.1).network(CAFE)
    story.after(200)
    assert dialled(story) == 1
    assert (story.shown("web"), waits_until(story)) == ("waiting", until)


def test_two_networks_are_told_apart_before_the_gateway_is_resolved(story: Story) -> None:
    """Budgets distinguish two networks even before the gateway is resolved, and stay valid afterwards."""
    story.connected(scene=HOME)
    story.after(60).ended("web", kind="died")
    story.network(CAFE.without_mac())
    story.fails("web", "dropped")
    story.forget()
    story.after(1).network(CAFE)
    assert dialled(story) == 0, "it is the same network"
    story.after(1).network(HOME.without_mac())
    assert dialled(story) == 1, "it is another one"


def test_a_success_releases_the_others_on_that_path(story: Story) -> None:
    """After minutes without the server, the first login that succeeds releases the other hosts."""
    for name in FOUR:
        story.connected(name, scene=HOME, user=name)
    story.after(60)
    for name in FOUR:
        story.ended(name, kind="died")
    for _ in range(9):
        for name in FOUR:
            if story.host(name).attempt is not None:
                story.fails(name, "refused")
        story.after(40)
    for name in FOUR:
        if story.host(name).attempt is not None:
            story.fails(name, "refused")
    while all(story.host(name).attempt is None for name in FOUR):
        story.after(1)
    first = next(name for name in FOUR if story.host(name).attempt is not None)
    story.forget()
    story.ready(first)
    for name in FOUR:
        assert name == first or story.host(name).attempt is not None, name


def wobbling(story: Story, times: int) -> None:
    """Let the Wi-Fi under a tunnel come and go, fast enough to cut each control short."""
    vpn = tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
    for _ in range(times):
        story.network(CAFE + vpn)
        if story.host("db").attempt is not None:
            story.established("db")
        story.after(0.2).network(HOME + vpn)
        if story.host("db").attempt is not None:
            story.established("db")
        story.after(0.2)


def test_row_3_probes_the_old_master_when_no_control_can_be_made(story: Story) -> None:
    """After controls failed during a wobble of the tunnel, the old master is probed and answers."""
    vpn = tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
    story.connected("db", scene=HOME + vpn, server=INTERNAL, local="10.8.0.6")
    story.after(60).network(CAFE + vpn)
    for _ in range(5):
        story.fails("db", "timed-out")
        story.after(story.host("db").retry.at - story.t)  # type: ignore[operator]  # not None: the server is away
    story.fails("db", "timed-out")
    story.after(5).network(HOME + vpn)
    story.forget()
    story.after(1)
    host = story.host("db")
    assert (host.attempt, host.doubt.probe is not None) == (None, True)
    story.answered("db")
    assert story.shown("db") == "connected"


def test_row_3_waits_for_its_control_where_the_old_master_is_silent(story: Story) -> None:
    """If the old master is silent, it waits for a control, and `status` shows that wait."""
    vpn = tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
    story.connected("db", scene=HOME + vpn, server=INTERNAL, local="10.8.0.6")
    story.after(60)
    wobbling(story, 4)
    before = dialled(story, "db")
    story.after(5)
    until = waits_until(story, "db")
    assert until is not None
    assert (story.shown("db"), story.problem("db")) == ("waiting", "rate-limited")
    story.after(until - story.t + 0.1)
    assert dialled(story, "db") == before + 1


def test_a_vpn_that_returns_with_a_new_address_is_used_at_once(story: Story) -> None:
    """A VPN that returns with a new address is used at once, because no server saw the attempts in between."""
    vpn = tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
    story.connected("db", scene=HOME + vpn, server=INTERNAL, local="10.8.0.6")
    story.after(60)
    for number in range(4):
        story.network(HOME)
        story.after(1).network(HOME + tunnel("VPN", "tun0", f"10.8.0.{7 + number}/24", "10.99.0.0/24"))
        assert story.host("db").attempt is not None, f"return {number}"
        for _ in range(4):
            story.fails("db", "timed-out")
            story.after(story.host("db").retry.at - story.t)  # type: ignore[operator]  # not None: the server is away
        story.fails("db", "timed-out")


def test_a_wake_in_the_same_network_keeps_a_servers_pause(story: Story) -> None:
    """Sleep ends a back-off, but not the pause after a server dropped us."""
    story.connected(scene=HOME)
    story.after(60).ended("web", kind="died")
    story.fails("web", "dropped")
    story.forget()
    story.after(1).post(e.Woke(story.t, 5.0), "woke")
    story.network(HOME, Touched(links=frozenset({"wlan0"})))
    assert dialled(story) == 0
    assert story.shown("web") == "waiting"
    story.after(20)
    assert dialled(story) == 1


def all_time_out(story: Story, names: tuple[str, ...]) -> int:
    """Let each running login time out at a server that saw it. Return the number of logins that run then."""
    for name in names:
        story.ended(name, kind="died")
    begun = [name for name in names if story.host(name).attempt is not None]
    assert len(begun) == UNAUTHENTICATED_PER_SERVER
    for name in begun:
        story.established(name)
    story.after(30)
    for name in begun:
        story.fails(name, "timed-out")
    return sum(story.host(name).attempt is not None for name in names)


def test_connections_that_timed_out_leave_less_room(story: Story) -> None:
    """Timed-out connections count until LoginGraceTime, because the server keeps them and drops others from ten on."""
    names = tuple(f"h{number}" for number in range(12))
    for name in names:
        story.connected(name, scene=HOME, user=name)
    story.after(60)
    assert all_time_out(story, names) == 3


def test_time_outs_behind_a_jump_host_leave_nothing_there(story: Story) -> None:
    """A login that times out behind a jump host does not count at the jump host, because only the target is silent."""
    names = tuple(f"h{number}" for number in range(12))
    for name in names:
        story.connected(name, scene=HOME, user=name)
        story.resolved(name, server=INTERNAL, jump=f"{name}@gate", hop=Hop(SERVER, 22, name), user=name)
    story.after(60)
    assert all_time_out(story, names) == UNAUTHENTICATED_PER_SERVER


def test_all_hosts_of_a_server_share_its_budget_in_a_vpn(story: Story) -> None:
    """All hosts of a server share its budget in a VPN, even if only another host's login shows the server's address."""
    everything = HOME + tunnel("vpn", "tun0", "10.8.0.2/24", "0.0.0.0/1", "128.0.0.0/1")
    story.connected("web", scene=everything, server="gate.example.net", peer=SERVER)
    story.connected("a", scene=everything, server="a.example.net", peer=SERVER, direct=False)
    story.resolved("a", server="a.example.net", jump="gate", hop=Hop("gate.example.net", 22))
    story.after(60)
    for name in ("web", "a"):
        story.ended(name, kind="died")
    server = story.state.servers[story.host("a").server]
    networks = [visit.origin for visit in server.running.values()]
    assert len(networks) == 2
    assert networks[0].same(networks[1]), networks


def names_of_one_server(story: Story, count: int) -> tuple[str, ...]:
    """Begin with names of one server, each with its own user, connected from home for a minute."""
    names = tuple(f"n{number}" for number in range(count))
    for name in names:
        story.known_keys[name] = [HOST_KEY]
        story.connected(name, scene=HOME, server=f"{name}.example", peer=SERVER, user=name)
    story.after(60)
    return names


def test_all_names_of_a_server_share_its_room(story: Story) -> None:
    """A server with twelve names gets at most six logins at a time, because it counts all of them together."""
    names = names_of_one_server(story, 12)
    for name in names:
        story.ended(name, kind="died")
    begun = [name for name in names if story.host(name).attempt is not None]
    assert len(begun) == UNAUTHENTICATED_PER_SERVER
    assert story.problem(names[-1]) == "rate-limited"


def test_a_server_that_drops_one_name_is_left_alone_under_the_others(story: Story) -> None:
    """If the server drops a login under one name, the other names wait.

    A success under one of them releases the rest.
    """
    first, *others = names_of_one_server(story, 3)
    story.ended(first, kind="died")
    story.fails(first, "dropped")
    for name in others:
        story.ended(name, kind="died")
    assert [dialled(story, name) for name in (first, *others)] == [1, 0, 0]
    assert [story.shown(name) for name in others] == ["waiting"] * 2
    story.forget()
    until = waits_until(story, others[0])
    assert until is not None
    story.after(until - story.t)
    begun = [name for name in (first, *others) if story.host(name).attempt is not None]
    assert begun
    story.ready(begun[0])
    assert all(dialled(story, name) == 1 for name in (first, *others))


def test_connections_cut_short_count_under_every_name(story: Story) -> None:
    """Connections that were cut off under two names also count for a third name."""
    names = names_of_one_server(story, 12)
    assert all_time_out(story, names) == 3
