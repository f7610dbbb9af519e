"""How often a server has been asked, so that no account is locked and no server's patience tried; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trayagent.core.backoff import doubling
from trayagent.core.hosts import NEVER
from trayagent.core.timing import (
    ABORT_WINDOW_S,
    ABORTS_PER_WINDOW,
    ATTEMPT_WINDOW_S,
    ATTEMPTS_PER_WINDOW,
    DROPPED_FIRST_S,
    DROPPED_MAX_S,
    UNAUTHENTICATED_IN_ALL,
    UNAUTHENTICATED_PER_SERVER,
)


@dataclass(frozen=True, slots=True)
class Server:
    """What one server has seen of us; a login that succeeded counts no more against it."""

    running: frozenset[int] = frozenset()
    unsuccessful: tuple[float, ...] = ()
    aborted: tuple[float, ...] = ()
    quiet_until: float = NEVER
    drops: int = 0


Servers = Mapping[str, Server]


def free_at(servers: Servers, key: str, now: float) -> float | None:
    """Return when the server may be asked (at most `now`: at once); None when another attempt must end first."""
    server = servers.get(key, Server())
    in_all = sum(len(s.running) for s in servers.values())
    if len(server.running) >= UNAUTHENTICATED_PER_SERVER or in_all >= UNAUTHENTICATED_IN_ALL:
        return None
    recent = _within(server.unsuccessful, now, ATTEMPT_WINDOW_S)
    # The running ones may yet fail: they count until they are through.
    over = len(recent) + len(server.running) - ATTEMPTS_PER_WINDOW
    if over >= 0 and recent:
        return max(recent[min(over, len(recent) - 1)] + ATTEMPT_WINDOW_S, server.quiet_until)
    return max(now, server.quiet_until)


def may_abort(servers: Servers, key: str, now: float) -> bool:
    """Report whether one more handshake with this server may be cut short (OpenSSH 9.8 penalises them)."""
    aborted = _within(servers.get(key, Server()).aborted, now, ABORT_WINDOW_S)
    return len(aborted) < ABORTS_PER_WINDOW


def started(servers: Servers, key: str, attempt: int) -> Servers:
    """Note that an attempt began."""
    server = servers.get(key, Server())
    return {**servers, key: replace(server, running=server.running | {attempt})}


def server_of(servers: Servers, attempt: int) -> str | None:
    """Return the key of the server that a running attempt asks."""
    return next((key for key, server in servers.items() if attempt in server.running), None)


def ended(servers: Servers, attempt: int, now: float, *, success: bool, aborted: bool = False) -> Servers:
    """Note that an attempt ended, in success, by our abort, or otherwise."""
    key = server_of(servers, attempt)
    if key is None:
        return servers
    server = servers[key]
    server = replace(server, running=server.running - {attempt})
    if success:
        server = replace(server, drops=0)
    else:
        server = replace(server, unsuccessful=(*_within(server.unsuccessful, now, ATTEMPT_WINDOW_S), now))
    if aborted:
        server = replace(server, aborted=(*_within(server.aborted, now, ABORT_WINDOW_S), now))
    return {**servers, key: server}


def dropped(servers: Servers, key: str, now: float, jitter: float) -> Servers:
    """Note that the server dropped us: everyone behind our address waits, longer each time."""
    server = servers.get(key, Server())
    if now < server.quiet_until:
        return servers  # one more of those that were on their way when it began
    pause = doubling(DROPPED_FIRST_S, server.drops + 1, DROPPED_MAX_S) * max(jitter, 1.0)
    return {**servers, key: replace(server, drops=server.drops + 1, quiet_until=now + pause)}


def forgiven(servers: Servers, key: str) -> Servers:
    """The user's own word: the pause of this server is over; what others have tried there still counts."""
    server = servers.get(key)
    if server is None:
        return servers
    return {**servers, key: replace(server, quiet_until=NEVER)}


def _within(times: tuple[float, ...], now: float, window_s: float) -> tuple[float, ...]:
    return tuple(t for t in times if now - t < window_s)
