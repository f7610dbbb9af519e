"""Plays thousands of histories in a virtual world. The policy's invariants must be true in each.

`TRAYAGENT_HISTORIES=20000` plays that many histories, `TRAYAGENT_HISTORIES=5000-9999` plays these seeds.
`TRAYAGENT_SESSION_HISTORIES=1000` plays that many histories in which sessions outlast reconnects,
`TRAYAGENT_ROAMING_HISTORIES=1000` that many in which hosts roam, `TRAYAGENT_STANDBY_HISTORIES=1000` that many with
spare masters. `TRAYAGENT_IDLE_HISTORIES=1000` plays that many of
each kind, and checks after each event that no host was skipped that could do something.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.sim.histories import (
    History,
    history,
    history_of_nodes,
    history_of_ports,
    history_of_processes,
    history_of_reports,
    history_of_requests,
    history_of_roaming,
    history_of_sessions,
    history_of_standby,
    shortest,
)
from tests.sim.known import KNOWN
from tests.sim.playing import play

_AT_A_TIME = 50
_BRIEF = "500"
_OF_NODES = 50
_OF_PORTS = 50
_OF_PROCESSES = 50
_OF_REPORTS = 50
_OF_REQUESTS = 50
_OF_ROAMING = int(os.environ.get("TRAYAGENT_ROAMING_HISTORIES", "50"))
_OF_IDLE = int(os.environ.get("TRAYAGENT_IDLE_HISTORIES", "6"))
_OF_STANDBY = int(os.environ.get("TRAYAGENT_STANDBY_HISTORIES", "50"))
_OF_SESSIONS = int(os.environ.get("TRAYAGENT_SESSION_HISTORIES", "50"))


def _asked() -> list[range]:
    first, _, last = os.environ.get("TRAYAGENT_HISTORIES", _BRIEF).rpartition("-")
    seeds = range(int(first), int(last) + 1) if first else range(int(last))
    return [seeds[at : at + _AT_A_TIME] for at in range(0, len(seeds), _AT_A_TIME)]


@pytest.mark.parametrize("seeds", _asked(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_invariants_hold(seeds: range) -> None:
    """Any events in any order break no invariant of tests/sim/rules.py."""
    _play(seeds, history)


@pytest.mark.parametrize("first", range(0, _OF_PROCESSES, _AT_A_TIME))
def test_a_process_that_does_not_run_is_not_dead(first: int) -> None:
    """No invariant is broken while masters are suspended, sentinels hang, and networks change."""
    _play(range(first, first + _AT_A_TIME), history_of_processes)


@pytest.mark.parametrize("first", range(0, _OF_NODES, _AT_A_TIME))
def test_the_answer_of_another_machine_ends_no_master(first: int) -> None:
    """No invariant is broken while the name of a host leads to two machines with one host key."""
    _play(range(first, first + _AT_A_TIME), history_of_nodes)


@pytest.mark.parametrize("first", range(0, _OF_REPORTS, _AT_A_TIME))
def test_nothing_is_sent_into_a_portal_or_from_a_forbidden_network(first: int) -> None:
    """No invariant is broken while a network manager reports captive portals and names of networks."""
    _play(range(first, first + _AT_A_TIME), history_of_reports)


@pytest.mark.parametrize("first", range(0, _OF_REQUESTS, _AT_A_TIME))
def test_requests_and_obstacles_leave_nothing_behind(first: int) -> None:
    """No invariant is broken while the user logs in at a terminal, ssh_config has an error, or a path is taken.

    In the end all forwards are open.
    """
    _play(range(first, first + _AT_A_TIME), history_of_requests)


@pytest.mark.parametrize("first", range(0, _OF_SESSIONS, _AT_A_TIME))
def test_a_draining_master_is_kept_while_it_carries_a_session(first: int) -> None:
    """No invariant is broken while hosts with sessions are reconnected and networks change."""
    _play(range(first, first + _AT_A_TIME), history_of_sessions)


@pytest.mark.parametrize("first", range(0, _OF_ROAMING, _AT_A_TIME))
def test_an_inner_master_ends_only_by_its_user_or_its_server(first: int) -> None:
    """While networks change, servers reboot and agents restart, no roaming session is lost.

    In the end all are attached.
    """
    _play(range(first, first + _AT_A_TIME), history_of_roaming)


@pytest.mark.parametrize("first", range(0, _OF_PORTS, _AT_A_TIME))
def test_a_host_that_asks_roams_without_a_login(first: int) -> None:
    """After one login, no invariant is broken by moves, blocked ports and restarts, and the agent logs in to nothing.

    In the end the port carries the sessions, or an outer master of the user.
    """
    _play(range(first, first + _AT_A_TIME), history_of_ports)


@pytest.mark.parametrize("first", range(0, _OF_STANDBY, _AT_A_TIME))
def test_a_spare_master_is_made_and_used_only_where_it_may_be(first: int) -> None:
    """While networks change beside each other, no spare master breaks a rule.

    None is beside a full tunnel, on a metered network, or where the host may not be connected. In the end each host
    has one.
    """
    _play(range(first, first + _AT_A_TIME), history_of_standby)


@pytest.mark.parametrize(
    "draw",
    [
        history,
        history_of_processes,
        history_of_reports,
        history_of_sessions,
        history_of_roaming,
        history_of_ports,
        history_of_standby,
    ],
)
def test_an_event_advances_every_host_that_can_do_something(draw: Callable[[int], History]) -> None:
    """After each event, each host is advanced that is not settled. No other host could take a step."""
    _play(range(_OF_IDLE), draw, checks_idle_hosts=True)


def _play(seeds: range, draw: Callable[[int], History], *, checks_idle_hosts: bool = False) -> None:
    def broken(drawn: History) -> str | None:
        return _broken(drawn, checks_idle_hosts=checks_idle_hosts)

    for seed in seeds:
        drawn = draw(seed)
        if broken(drawn) is not None:
            short = shortest(drawn, lambda shorter: broken(shorter) is not None)
            pytest.fail(f"seed {seed}, shortened:\n{short!r}\n{broken(short)}", pytrace=False)


@pytest.mark.parametrize("name", KNOWN)
def test_what_broke_once_holds(name: str) -> None:
    """Each history that once found a defect breaks no invariant any more."""
    play(KNOWN[name])


def _broken(drawn: History, *, checks_idle_hosts: bool) -> str | None:
    """Return the error if a history breaks an invariant or makes the core raise, or None."""
    try:
        play(drawn, checks_idle_hosts=checks_idle_hosts)
    except Exception as error:  # any exception of the core is also a defect
        return f"{type(error).__name__}: {error}"
    return None
