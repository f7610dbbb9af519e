"""Finds the hosts whose last decision may no longer be valid; pure.

A decision about a host depends on its own facts, on facts that all hosts share, on the time, and on what it read of
other hosts and servers. `HostTable` notes the latter. While all of these are unchanged, the host would do nothing, so
it is *settled*, and an event that concerns other hosts costs it nothing. The simulation proves that: after each event
it advances every host again, and none may take a step (`tests/sim/idle_hosts.py`).
"""

from __future__ import annotations

from math import inf
from typing import Any

from msgspec import Struct

from trayagent.core.decision_context import Context
from trayagent.core.facts.host_table import HostTable, Read, Reads
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State

ANSWER_S = 1.0
"""How long a request to the kernel or to `ssh -G` may take. After that, the next event repeats it."""


class Basis(Struct, frozen=True):
    """The facts on which the last decision about a host is based. It is valid before `until`.

    `shared`: what all hosts share. `timer_at`: the host's timer. `alone`: the decision read nothing else. `everything`:
    it read facts of all hosts, or what servers saw. `hosts` and `values`: it read these facts of other hosts. `seen`:
    the version of all these facts at that time.
    """

    host: Host
    shared: object
    until: float
    timer_at: float | None
    alone: bool
    hosts: tuple[tuple[str, Host | None], ...]
    everything: bool
    values: tuple[Read, ...]
    seen: object


def unsettled(context: Context) -> list[str]:
    """Return the names of the hosts that are not settled."""
    table, state, now = context.hosts, context.state, context.now
    return [name for name, host in dict.items(table) if not _is_settled(table, state, now, name, host)]


def is_settled(context: Context, name: str) -> bool:
    """Report whether the last decision about a host is still valid."""
    host = dict.get(context.hosts, name)
    return host is not None and _is_settled(context.hosts, context.state, context.now, name, host)


def _is_settled(table: HostTable, state: State, now: float, name: str, host: Host) -> bool:
    basis: Basis | None = table.settled.get(name)
    if basis is None or basis.host is not host or now >= basis.until:
        return False
    if basis.shared is not table.shared:
        return False
    return basis.alone or basis.seen is table.version or _holds(basis, table, state, now)


def _holds(basis: Basis, table: HostTable, state: State, now: float) -> bool:
    """Report whether what a decision read of other hosts and of servers is unchanged, as far as it matters."""
    if basis.everything:
        return False
    for name, host in basis.hosts:
        if dict.get(table, name) is not host:
            return False
    for value in basis.values:  # noqa: SIM110  # this runs for each waiting host at each event
        if not value.holds(state, now):
            return False
    return True


def settle(context: Context, host: Host, reads: Reads, timer_at: float | None, *, asked: bool) -> None:
    """Note that the host can take no step now. `asked`: it waits for the answer to a request that no fact shows."""
    until = min(reads.until, inf if timer_at is None else timer_at, context.now + ANSWER_S if asked else inf)
    reads.hosts.pop(host.name, None)
    context.hosts.settled[host.name] = Basis(
        host,
        context.hosts.shared,
        until,
        timer_at,
        not (reads.hosts or reads.everything or reads.values),
        tuple(reads.hosts.items()),
        reads.everything,
        tuple(reads.values),
        context.hosts.version,
    )


def unsettle(context: Context, name: str) -> None:
    """Have the host decided again, and its timer set again."""
    context.hosts.settled.pop(name, None)


def share(context: Context) -> None:
    """Note the facts that all hosts share. If one of them changed, every host is decided again."""
    now = _shared(context.state)
    if context.hosts.shared != now:
        context.hosts.shared = now


def _shared(state: State) -> tuple[Any, ...]:
    return (
        state.started,
        state.snapshot,
        state.network_at,
        state.vpns,
        state.manager,
        state.sign_ins,
        state.keep_while_offline_s,
        state.learn_vpn,
        state.end_beside,
        state.paused_until,
        state.woke_at,
    )
