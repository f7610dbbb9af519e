"""Budgets of servers for each network."""

from __future__ import annotations

from trayagent.core.facts.network import Network, Origin
from trayagent.core.policy.logins.login_limits_per_server import (
    Servers,
    dropped,
    ended,
    established,
    forgiven,
    free_at,
    may_abort,
    started,
)

WEB = "web:22"
HOME = Origin(Network("wlan0", "aa:01"), "192.168.10.2")
CAFE = Origin(Network("wlan0", "cc:01"), "10.20.0.7")
CABLE = Origin(Network("eth0", "aa:01"), "192.168.10.3")  # at home, behind the same gateway
TUNNEL, OTHER_TUNNEL = (Origin(Network(name, "0.0.0.0/1"), "10.8.0.6") for name in ("tun0", "tun1"))
TWIN = Origin(Network("wlan0", "bb:01"), "192.168.10.2")  # the addresses of home behind another gateway


def running(*attempts: int, key: str = WEB, seen: bool = True, at: float = 0.0) -> Servers:
    """Return servers with these running attempts from home."""
    servers: Servers = {}
    for attempt in attempts:
        servers = started(servers, key, attempt, HOME, at)
        servers = established(servers, attempt) if seen else servers
    return servers


def cut(count: int, origin: Origin, servers: Servers | None = None, *, at: float = 0.0) -> Servers:
    """Return servers that saw `count` connections from a network, all of them cut off."""
    servers = servers or {}
    for n in range(count):
        number = round(at * 1000) + 100 + n
        servers = established(started(servers, WEB, number, origin, at), number)
        servers = ended(servers, number, at, "cut")
    return servers


def failed(count: int, at: float, origin: Origin = HOME) -> Servers:
    """Return servers that saw `count` attempts fail."""
    servers: Servers = {}
    for n in range(count):
        servers = ended(started(servers, WEB, n, origin, at), n, at, "failed")
    return servers


def test_six_unauthenticated_connections_are_enough() -> None:
    """A server gets at most six unauthenticated connections at a time: from ten on, MaxStartups drops connections."""
    assert free_at(running(1, 2, 3, 4, 5), WEB, HOME, 0.0) == 0.0
    assert free_at(running(1, 2, 3, 4, 5, 6), WEB, HOME, 0.0) is None
    assert free_at(running(1, 2, 3, 4, 5, 6), WEB, CAFE, 0.0) is None, "the server counts all of them"


def test_sixteen_attempts_in_all_are_enough() -> None:
    """In total at most sixteen attempts run at a time, because key exchanges need processor time."""
    servers = running(1)
    for n in range(2, 17):
        servers = started(servers, f"other{n}", n, HOME, 0.0)
    assert free_at(servers, "yet another", HOME, 0.0) is None


def test_failures_count_for_a_minute_and_successes_not() -> None:
    """Only failures count against the budget, so thirty hosts of one machine may come up in seconds."""
    servers = running(*range(6))
    for n in range(6):
        servers = ended(servers, n, 1.0, "through")
    assert free_at(servers, WEB, HOME, 1.0) == 1.0
    assert free_at(failed(6, 2.0), WEB, HOME, 2.0) == 62.0


def test_a_success_ends_the_wait_after_failures() -> None:
    """A success ends the wait after earlier failures, because the server accepts logins from this network."""
    servers = started(failed(5, 2.0), WEB, 9, HOME, 3.0)
    assert free_at(servers, WEB, HOME, 3.0) == 62.0
    assert free_at(ended(servers, 9, 4.0, "through"), WEB, HOME, 4.0) == 4.0


def test_failures_in_one_network_say_nothing_of_the_next() -> None:
    """Failures in a café do not count at home, because the café's gateway may have answered."""
    assert free_at(failed(6, 2.0, CAFE), WEB, CAFE, 3.0) == 62.0
    assert free_at(failed(6, 2.0, CAFE), WEB, HOME, 3.0) == 3.0


def test_a_cable_and_a_wifi_behind_one_gateway_share_their_limits() -> None:
    """A server sees a cable and a Wi-Fi behind the same gateway as one client, so they share their limits."""
    assert free_at(failed(6, 2.0), WEB, CABLE, 3.0) == 62.0
    assert free_at(cut(2, CABLE, cut(3, HOME)), WEB, HOME, 1.0) == 30.0
    assert free_at(started(cut(4, HOME), WEB, 1, CABLE, 1.0), WEB, CABLE, 1.0) == 30.0
    assert not may_abort(established(started(cut(5, HOME), WEB, 1, CABLE, 1.0), 1), 1, 1.0)
    away = dropped({}, WEB, HOME, 0.0, 1.0)
    assert free_at(away, WEB, CABLE, 1.0) == 20.0
    assert free_at(dropped(away, WEB, CABLE, 20.0, 1.0), WEB, HOME, 21.0) == 60.0, "the pause doubles"


def test_a_success_over_the_cable_ends_the_wait_on_the_wifi_behind_it() -> None:
    """A login that succeeds over the cable shows that the server accepts logins from behind this gateway."""
    servers = started(dropped(failed(6, 2.0), WEB, HOME, 2.0, 1.0), WEB, 9, CABLE, 3.0)
    servers = ended(servers, 9, 4.0, "through")
    assert free_at(servers, WEB, HOME, 4.0) == 4.0
    assert free_at(servers, WEB, CABLE, 4.0) == 4.0


def test_a_cable_whose_gateway_is_not_resolved_has_limits_of_its_own() -> None:
    """A cable whose gateway is not resolved has its own limits.

    Once it is resolved, cable and Wi-Fi share their limits.
    """
    unresolved = Origin(Network("eth0"), "192.168.10.3")
    servers = cut(1, unresolved, cut(4, HOME))
    assert free_at(servers, WEB, unresolved, 1.0) == 1.0
    assert free_at(servers, WEB, CABLE, 1.0) == 30.0


def test_two_tunnels_share_no_limits() -> None:
    """Two tunnels with the same prefix are two networks, because each has its own public address."""
    assert free_at(failed(6, 2.0, TUNNEL), WEB, TUNNEL, 3.0) == 62.0
    assert free_at(failed(6, 2.0, TUNNEL), WEB, OTHER_TUNNEL, 3.0) == 3.0


def test_the_budget_for_failures_grows_with_the_hosts_of_a_server() -> None:
    """Each of ten hosts on a server may be tried once in a minute."""
    assert free_at(failed(6, 2.0), WEB, HOME, 3.0, hosts=10) == 3.0
    assert free_at(failed(10, 2.0), WEB, HOME, 3.0, hosts=10) == 62.0


def test_a_request_of_the_user_ends_a_pause_and_forgets_no_failure() -> None:
    """A request of the user ends the pause, but forgets no failure of the server's other hosts."""
    servers = dropped({}, WEB, HOME, 0.0, 1.0)
    assert free_at(servers, WEB, HOME, 1.0) == 20.0
    assert free_at(forgiven(servers, {WEB}), WEB, HOME, 1.0) == 1.0
    assert free_at(forgiven(failed(6, 2.0), {WEB}), WEB, HOME, 3.0) == 62.0


def test_running_attempts_may_yet_fail() -> None:
    """Running attempts count until they succeed, so that seven never fail within a minute."""
    servers = running(1, 2, 3)
    for n in (4, 5, 6):
        servers = ended(started(servers, WEB, n, HOME, 0.0), n, float(n), "failed")
    assert free_at(servers, WEB, HOME, 10.0) == 64.0


def test_five_connections_may_be_cut_short_in_thirty_seconds() -> None:
    """Five connections may be cut off in 30 s, because OpenSSH 9.8 penalizes them and keeps each for a while."""
    servers = cut(4, HOME)
    assert free_at(servers, WEB, HOME, 1.0) == 1.0
    assert free_at(started(servers, WEB, 1, HOME, 1.0), WEB, HOME, 1.0) == 30.0, "one more may yet be cut"
    assert free_at(cut(5, HOME), WEB, HOME, 1.0) == 30.0
    assert free_at(cut(5, HOME), WEB, CAFE, 1.0) == 1.0
    assert free_at(cut(7, HOME), WEB, HOME, 1.0, hosts=4) == 1.0
    assert free_at(cut(8, HOME), WEB, HOME, 1.0, hosts=4) == 30.0


def test_hanging_connections_leave_less_room() -> None:
    """Hanging connections count against MaxStartups for all networks, but one attempt is always allowed."""
    servers = cut(4, CAFE, cut(3, HOME))
    both = started(started(servers, WEB, 1, HOME, 1.0), WEB, 2, HOME, 1.0)
    assert free_at(started(servers, WEB, 1, HOME, 1.0), WEB, HOME, 1.0, hosts=4) == 1.0
    assert free_at(both, WEB, HOME, 1.0, hosts=4) == 120.0
    assert free_at(both, WEB, HOME, 121.0, hosts=4) == 121.0
    assert free_at(cut(4, CAFE, cut(4, HOME, cut(4, TWIN))), WEB, HOME, 31.0) == 31.0


def test_an_attempt_that_no_server_saw_spends_nothing() -> None:
    """An attempt that no server saw uses up no budget: no name, no answer to the SYN, or a move before the answer."""
    for n in range(50):
        servers = ended(running(n, seen=False), n, 0.0, "cut" if n % 2 else "unseen")
    assert free_at(servers, WEB, HOME, 0.0) == 0.0


def test_the_sixth_abort_waits() -> None:
    """After five cut-off attempts in 30 s, an attempt that the server has seen must not be cut off.

    An unseen one may be.
    """
    servers = started(established(started(cut(4, HOME), WEB, 1, HOME, 0.0), 1), WEB, 2, HOME, 0.0)
    assert may_abort(servers, 1, 0.0)
    servers = ended(servers, 1, 0.0, "cut")
    assert may_abort(servers, 2, 0.0), "nobody saw that one"
    servers = established(servers, 2)
    assert not may_abort(servers, 2, 29.0)
    assert may_abort(servers, 2, 30.0)


def test_a_drop_doubles_once_for_all_that_were_on_their_way() -> None:
    """Pauses after drops are 20 s, 40 s … ten minutes, and begin again after a success."""
    servers: Servers = dropped(dropped({}, WEB, HOME, 0.0, 1.0), WEB, HOME, 0.1, 1.0)
    assert free_at(servers, WEB, HOME, 0.0) == 20.0
    servers = dropped(servers, WEB, HOME, 20.0, 1.0)
    assert free_at(servers, WEB, HOME, 20.0) == 60.0
    for at in range(1000, 11_000, 1000):
        servers = dropped(servers, WEB, HOME, float(at), 1.0)
    assert free_at(servers, WEB, HOME, 10_000.0) == 10_600.0
    servers = ended(started(servers, WEB, 9, HOME, 20_000.0), 9, 20_000.0, "through")
    assert free_at(dropped(servers, WEB, HOME, 20_000.0, 1.0), WEB, HOME, 20_000.0) == 20_020.0


def test_a_success_that_began_before_the_drop_ends_no_pause() -> None:
    """A success ends the pause only if it began after the drop, because a busy server accepts some and drops others."""
    servers = dropped(running(1), WEB, HOME, 1.0, 1.0)
    servers = ended(servers, 1, 2.0, "through")
    assert free_at(servers, WEB, HOME, 2.0) == 21.0
    servers = ended(started(servers, WEB, 2, HOME, 3.0), 2, 4.0, "through")
    assert free_at(servers, WEB, HOME, 4.0) == 4.0


def test_a_pause_belongs_to_its_network() -> None:
    """A pause applies only to its network: a café that accepts and closes port 22 does not delay the next network."""
    servers = dropped({}, WEB, CAFE, 0.0, 1.0)
    assert free_at(servers, WEB, CAFE, 1.0) == 20.0
    assert free_at(servers, WEB, HOME, 1.0) == 1.0


def test_a_network_is_known_again_though_its_gateway_was_not_resolved_at_first() -> None:
    """While the gateway is not resolved, the machine's own address identifies the network."""
    unresolved = Origin(Network("wlan0"), CAFE.source)
    assert free_at(dropped({}, WEB, unresolved, 0.0, 1.0), WEB, CAFE, 1.0) == 20.0
    assert free_at(dropped({}, WEB, CAFE, 0.0, 1.0), WEB, unresolved, 1.0) == 20.0
    assert free_at(dropped({}, WEB, unresolved, 0.0, 1.0), WEB, HOME, 1.0) == 1.0
    assert free_at(dropped({}, WEB, CAFE, 0.0, 1.0), WEB, Origin(Network("wlan0"), HOME.source), 1.0) == 1.0
    assert free_at(dropped({}, WEB, HOME, 0.0, 1.0), WEB, TWIN, 1.0) == 1.0


def test_budgets_of_old_networks_are_forgotten() -> None:
    """Only the latest eight networks keep a budget, so that a traveller's agent does not grow."""
    servers: Servers = {}
    for n in range(100):
        servers = dropped(servers, WEB, Origin(Network("wlan0", f"mac {n}"), f"10.0.{n}.2"), float(n), 1.0)
    assert len(servers[WEB].budgets) <= 8


def test_a_connection_that_timed_out_hangs_at_the_server() -> None:
    """A connection that timed out counts until LoginGraceTime, like one that was cut short."""
    servers = running(1, 2, 3, 4, 5)
    for n in range(1, 6):
        servers = ended(servers, n, 1.0, "hung")
    assert free_at(servers, WEB, HOME, 2.0) == 31.0
    servers = started(failed(5, 2.0), WEB, 9, HOME, 2.0)
    assert free_at(ended(established(servers, 9), 9, 3.0, "hung"), WEB, HOME, 4.0) == 62.0


def test_a_time_out_before_the_server_saw_anything_leaves_nothing_there() -> None:
    """A connection that timed out without an answer to its SYN uses up no budget."""
    servers = running(*range(6), seen=False)
    for n in range(6):
        servers = ended(servers, n, 1.0, "unseen")
    assert free_at(servers, WEB, HOME, 2.0) == 2.0
