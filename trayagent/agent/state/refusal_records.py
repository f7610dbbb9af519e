"""Refused logins outlive the agent, so that an agent that restarts again and again locks no account."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trayagent.agent.state.record_types import KeptHost, KeptRefusal
from trayagent.core.facts.events import Refusal
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Network
from trayagent.core.facts.problems import CODES, Problem
from trayagent.core.facts.time_constants import NEVER, REFUSED_WINDOW_S

# The kinds of failures that count as refused logins. A key that could not be read does not count: the next agent may
# find the key unlocked.
STOPS: frozenset[FailureKind] = frozenset({"auth", "too-many-keys"})


def keep(kept: KeptHost, host: Host, wall: float, agent_mark: str) -> None:
    """Record what the next agent must know. `wall` converts the host's times to the wall clock."""
    kept.refused = [wall + at for at in host.login.refused]
    kept.refused_by_jump = [wall + at for at in host.login.refused_by_jump]
    kept.refusing_key = host.login.refusing_key
    kept.refused_elsewhere = [(wall + at, key) for at, key in host.login.refused_elsewhere]
    kept.refusal = None
    retry = host.retry
    if retry.kind in STOPS and host.problem is not None:
        due = None if retry.at is None else wall + retry.at
        at = wall + retry.failed_at if retry.failed_at > NEVER else None
        network = retry.network
        kept.refusal = KeptRefusal(
            retry.kind,
            host.problem.code,
            host.problem.title,
            host.problem.hint,
            at,
            due,
            agent_mark,
            retry.by_jump,
            retry.proven,
            [network.egress, network.gateway, network.name] if network is not None else None,
            retry.source,
        )


def add(kept: KeptHost, failure: Failure, at: float, agent_mark: str, host_key: str | None = None) -> None:
    """Record a refusal that happened while no agent ran, by the server that proved this key."""
    kept.refused.append(at)
    if failure.by_jump:
        kept.refused_by_jump.append(at)
    elif host_key is not None:
        kept.refusing_key = host_key
    if failure.kind in STOPS:
        problem = failure.problem
        kept.refusal = KeptRefusal(
            failure.kind,
            problem.code,
            problem.title,
            problem.hint,
            at,
            agent=agent_mark,
            by_jump=failure.by_jump,
            proven=failure.positive,
        )


def ago_s(times: Iterable[float], wall_now: float) -> tuple[float, ...]:
    """Return how long ago logins were refused, in seconds, within the window that matters.

    If the clock was set back, the age is 0.
    """
    ages = (max(0.0, wall_now - at) for at in times)
    return tuple(age for age in ages if age < REFUSED_WINDOW_S)


def elsewhere(kept: KeptHost, wall_now: float) -> tuple[tuple[float, str], ...]:
    """Return how long ago machines with another host key refused logins, each with its key."""
    ages = ((max(0.0, wall_now - at), key) for at, key in kept.refused_elsewhere)
    return tuple((age, key) for age, key in ages if age < REFUSED_WINDOW_S)


def refusal(kept: KeptHost, wall_now: float) -> Refusal | None:
    """Return how the login of a host was refused. Return None without a refusal, or if its code is unknown."""
    stop = kept.refusal
    if stop is None or stop.code not in CODES:
        return None
    due = None if stop.due is None else max(0.0, stop.due - wall_now)
    problem = Problem(stop.code, stop.title, stop.hint)
    network = Network(*stop.network) if stop.network is not None else None
    return Refusal(stop.kind, problem, due, stop.by_jump, stop.proven, network, stop.source)


def outdated(kept: KeptHost, agent_mark: str, files: Iterable[Path]) -> bool:
    """Report whether the refusal may be outdated: the user, a key, the ssh-agent or a configuration changed."""
    stop = kept.refusal
    if stop is None:
        return False
    return stop.agent != agent_mark or any(_changed_at(file) > (stop.at or 0.0) for file in files)


def _changed_at(file: Path) -> float:
    """Return when a file was last written or renamed, in seconds since the epoch; 0 if it does not exist."""
    try:
        return file.stat().st_ctime
    except OSError:
        return 0.0
