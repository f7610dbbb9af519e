"""Counts how often a server was contacted from a network, and limits that; pure.

A budget belongs to a server and a network, because a server distinguishes clients by their address. What a café's
gateway answered in a server's place says nothing about the next network. Attempts are counted under the name and port
of the first hop. If that server has other names (`server_names.py`), the attempts under all its names are added up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from trayagent.core.facts.network import Origin
from trayagent.core.facts.time_constants import (
    ATTEMPT_DEADLINE_S,
    DROPPED_FIRST_S,
    DROPPED_MAX_S,
    FAILED_PER_WINDOW,
    FAILED_WINDOW_S,
    LOGIN_GRACE_S,
    NEVER,
    UNAUTHENTICATED_AND_CUT,
    UNAUTHENTICATED_IN_ALL,
    UNAUTHENTICATED_PER_SERVER,
    UNFINISHED_PER_HOST,
    UNFINISHED_PER_WINDOW,
    UNFINISHED_WINDOW_S,
)
from trayagent.core.policy.logins.doubling_pause import doubling

_NETWORKS_KEPT = 8  # for each server; older networks no longer matter

End = Literal["through", "failed", "hung", "cut", "unseen"]
"""How an attempt ended.

"through": it succeeded. "failed": it failed. "hung": it failed, and the server may keep its connection until
LoginGraceTime. "cut": the agent or a move cut it short. "unseen": no server saw it.
"""


class Visit(Struct, frozen=True):
    """One attempt in progress. `seen`: its connection was established, so the server counts the attempt."""

    origin: Origin
    began: float
    seen: bool = False


class Budget(Struct, frozen=True):
    """What a server saw from one network, and until when the agent must not contact the server from there."""

    origin: Origin
    failed: tuple[float, ...] = ()
    unfinished: tuple[float, ...] = ()
    quiet_until: float = NEVER
    dropped_at: float = NEVER
    drops: int = 0


class Server(Struct, frozen=True):
    """All attempts in progress at one server, and its budgets, the latest last."""

    running: Mapping[int, Visit] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()

    def budget(self, origin: Origin) -> Budget:
        """Return the budget of this network. For a new network, return a fresh budget."""
        known = (budget for budget in reversed(self.budgets) if budget.origin.same(origin))
        return next(known, Budget(origin))

    def alike(self, origin: Origin) -> tuple[Budget, ...]:
        """Return the budget of this network, and those of all networks that look the same to the server."""
        own = self.budget(origin)
        gateway = origin.gateway or own.origin.gateway
        others = (
            b for b in self.budgets if b.origin.same(origin) or (gateway and b.origin.gateway == gateway)
        )
        return (own, *(b for b in others if b is not own))

    def seen_from(self, origin: Origin) -> Budget:
        """Return what the server saw from this network and from the networks that look the same to the server."""
        alike = self.alike(origin)
        return Budget(
            origin,
            failed=tuple(sorted(at for budget in alike for at in budget.failed)),
            unfinished=tuple(sorted(at for budget in alike for at in budget.unfinished)),
            quiet_until=max(budget.quiet_until for budget in alike),
            dropped_at=max(budget.dropped_at for budget in alike),
            drops=max(budget.drops for budget in alike),
        )

    def with_budget(self, budget: Budget, origin: Origin) -> Server:
        """Return the server with this budget. Keep the more detailed description of the budget's network."""
        known = budget.origin.network is not None and budget.origin.network.known
        named = budget if known else replace(budget, origin=origin)
        others = tuple(b for b in self.budgets if not b.origin.same(origin))
        return replace(self, budgets=(*others[1 - _NETWORKS_KEPT :], named))


Servers = Mapping[str, Server]


def free_at(
    servers: Servers,
    key: str,
    origin: Origin,
    now: float,
    hosts: int = 1,
    *,
    others: Collection[str] = (),
    answers: bool = False,
) -> float | None:
    """Return when the server may be contacted (at most `now`: at once); None if another attempt must end first.

    `hosts` is how many hosts share the server, because the budgets grow with them. `others` are the server's other
    names. `answers`: the server just sent its banner, so its pause does not count.
    """
    if at_once(servers, key, others) is not None:
        return None
    server = _together(servers, key, others)
    budget = server.seen_from(origin)
    # Attempts in progress may still fail or be cut short, so each counts until it succeeds.
    running = sum(visit.origin.seen_as_one(origin) for visit in server.running.values())
    failing = max(FAILED_PER_WINDOW, hosts)
    unfinished = max(UNFINISHED_PER_WINDOW, UNFINISHED_PER_HOST * hosts)
    return max(
        now,
        _room_at(server, now),
        _one_at_a_time(server, budget, origin, now),
        now if answers else budget.quiet_until,
        _below(budget.failed, running, failing, FAILED_WINDOW_S, now),
        _below(budget.unfinished, running, unfinished, UNFINISHED_WINDOW_S, now),
    )


def at_once(servers: Servers, key: str, others: Collection[str] = ()) -> int | None:
    """Return which limit of logins at a time is reached: the server's own or that of all; None if neither is."""
    if len(_together(servers, key, others).running) >= UNAUTHENTICATED_PER_SERVER:
        return UNAUTHENTICATED_PER_SERVER
    running = sum(len(server.running) for server in servers.values())
    return UNAUTHENTICATED_IN_ALL if running >= UNAUTHENTICATED_IN_ALL else None


def may_abort(servers: Servers, attempt: int, now: float, others: Collection[str] = ()) -> bool:
    """Report whether this attempt may be cut short. OpenSSH 9.8 penalizes unfinished connections that it saw.

    `others` are the server's other names.
    """
    found = visit_of(servers, attempt)
    if found is None or not found[1].seen:
        return True
    key, visit = found
    seen = _together(servers, key, others).seen_from(visit.origin)
    unfinished = _within(seen.unfinished, now, UNFINISHED_WINDOW_S)
    return len(unfinished) < UNFINISHED_PER_WINDOW


def started(servers: Servers, key: str, attempt: int, origin: Origin, now: float) -> Servers:
    """Note that an attempt began."""
    server = servers.get(key, Server())
    return {**servers, key: replace(server, running={**server.running, attempt: Visit(origin, now)})}


def established(servers: Servers, attempt: int, origin: Origin | None = None) -> Servers:
    """Note that the server has seen a running attempt. `origin` is where the attempt really left, if known."""
    found = visit_of(servers, attempt)
    if found is None:
        return servers
    key, visit = found
    running = {**servers[key].running, attempt: replace(visit, seen=True, origin=origin or visit.origin)}
    return {**servers, key: replace(servers[key], running=running)}


def visit_of(servers: Servers, attempt: int) -> tuple[str, Visit] | None:
    """Return the server that a running attempt contacts, and what is known of the attempt."""
    return next(((key, s.running[attempt]) for key, s in servers.items() if attempt in s.running), None)


def ended(servers: Servers, attempt: int, now: float, end: End, others: Collection[str] = ()) -> Servers:
    """Note how an attempt ended.

    An attempt that no server saw costs nothing. A success also clears the budgets under the server's other names.
    """
    found = visit_of(servers, attempt)
    if found is None:
        return servers
    key, visit = found
    running = {number: other for number, other in servers[key].running.items() if number != attempt}
    server = replace(servers[key], running=running)
    budget = server.budget(visit.origin)
    if end == "through":
        named = {name: _cleared(servers[name], visit) for name in others if name in servers}
        return {**servers, **named, key: _cleared(server, visit)}
    if end in {"failed", "hung"}:
        failed = (*_within(budget.failed, now, FAILED_WINDOW_S), now)
        budget = replace(budget, failed=failed)
        server = server.with_budget(budget, visit.origin)
    if end in {"cut", "hung"} and visit.seen:
        unfinished = (*_within(budget.unfinished, now, LOGIN_GRACE_S), now)
        server = server.with_budget(replace(budget, unfinished=unfinished), visit.origin)
    return {**servers, key: server}


def _cleared(server: Server, visit: Visit) -> Server:
    """Return the server after it accepted a login from that network: the causes of earlier failures are over."""
    own, *alike = server.alike(visit.origin)
    for known, origin in ((own, visit.origin), *((other, other.origin) for other in alike)):
        quiet_until = NEVER if visit.began >= known.dropped_at else known.quiet_until
        server = server.with_budget(replace(known, failed=(), drops=0, quiet_until=quiet_until), origin)
    return server


def dropped(
    servers: Servers, key: str, origin: Origin, now: float, jitter: float, others: Collection[str] = ()
) -> Servers:
    """Note that the server dropped us. On this network, all its hosts then wait, longer after each drop.

    `others` are the server's other names.
    """
    server = servers.get(key, Server())
    seen = _together(servers, key, others).seen_from(origin)
    if now < seen.quiet_until:
        return servers  # the attempt was already under way when the pause began
    pause = doubling(DROPPED_FIRST_S, seen.drops + 1, DROPPED_MAX_S) * max(jitter, 1.0)
    budget = server.budget(origin)
    budget = replace(budget, drops=seen.drops + 1, dropped_at=now, quiet_until=now + pause)
    return {**servers, key: server.with_budget(budget, origin)}


def seen_by(servers: Servers, key: str, origin: Origin, others: Collection[str] = ()) -> Budget:
    """Return what the server saw from this network. `others` are the server's other names."""
    return _together(servers, key, others).seen_from(origin)


def forgiven(servers: Servers, names: Collection[str]) -> Servers:
    """End the pauses of the server with these names at the user's request. Past attempts still count."""
    named = {name: servers[name] for name in names if name in servers}
    quiet = {
        name: tuple(replace(budget, quiet_until=NEVER) for budget in server.budgets)
        for name, server in named.items()
    }
    return {**servers, **{name: replace(named[name], budgets=budgets) for name, budgets in quiet.items()}}


def _together(servers: Servers, key: str, others: Collection[str]) -> Server:
    """Return what the server saw under all its names."""
    server = servers.get(key, Server())
    named = [servers[name] for name in others if name != key and name in servers]
    if not named:
        return server
    running = {number: visit for one in (*named, server) for number, visit in one.running.items()}
    return Server(running, tuple(budget for one in (*named, server) for budget in one.budgets))


def _room_at(server: Server, now: float) -> float:
    """Return when one more attempt may run beside those in progress. One may always run.

    The server also counts hanging attempts, from any network, until their LoginGraceTime is over.
    """
    hanging = sorted(t for b in server.budgets for t in _within(b.unfinished, now, LOGIN_GRACE_S))
    over = len(hanging) + len(server.running) - UNAUTHENTICATED_AND_CUT
    return hanging[over] + LOGIN_GRACE_S if over >= 0 and hanging and server.running else now


def _one_at_a_time(server: Server, budget: Budget, origin: Origin, now: float) -> float:
    """Return when the first login after a drop is over. It shows whether the server accepts us again.

    The other logins wait for it, because they might be dropped, too, and use up the budget. If it hangs, they wait 30 s
    at most.
    """
    if not budget.drops:
        return now
    begun = (visit.began for visit in server.running.values() if visit.origin.seen_as_one(origin))
    return max(begun, default=NEVER) + ATTEMPT_DEADLINE_S


def _below(times: tuple[float, ...], running: int, limit: int, window_s: float, now: float) -> float:
    """Return when the attempts in the window and those in progress are fewer than the limit."""
    recent = _within(times, now, window_s)
    over = len(recent) + running - limit
    return recent[min(over, len(recent) - 1)] + window_s if over >= 0 and recent else now


def _within(times: tuple[float, ...], now: float, window_s: float) -> tuple[float, ...]:
    return tuple(t for t in times if now - t < window_s)
