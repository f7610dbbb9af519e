"""Records of refused logins. They outlive the agent, so that an agent that restarts often locks no account."""

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
    """Update the record of a host's refusals. `wall` is added to monotonic times to get wall-clock times."""
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
    """Add a refusal that happened while no agent ran. `host_key`: the key that the refusing server proved."""
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
    """Return how many seconds ago logins were refused. Leave out refusals that are too old to count.

    If the clock was set back since a refusal, its age is 0.
    """
    ages = (max(0.0, wall_now - at) for at in times)
    return tuple(age for age in ages if age < REFUSED_WINDOW_S)


def elsewhere(kept: KeptHost, wall_now: float) -> tuple[tuple[float, str], ...]:
    """Return how many seconds ago machines with another host key refused logins, each with that key."""
    ages = ((max(0.0, wall_now - at), key) for at, key in kept.refused_elsewhere)
    return tuple((age, key) for age, key in ages if age < REFUSED_WINDOW_S)


def refusal(kept: KeptHost, wall_now: float) -> Refusal | None:
    """Return how the login of a host was refused. None: it was not, or this version does not know the code."""
    stop = kept.refusal
    if stop is None or stop.code not in CODES:
        return None
    # No refusal waits longer. But the clock may have been set back since.
    due = None if stop.due is None else min(max(0.0, stop.due - wall_now), REFUSED_WINDOW_S)
    problem = Problem(stop.code, stop.title, stop.hint)
    network = Network(*stop.network) if stop.network is not None else None
    return Refusal(stop.kind, problem, due, stop.by_jump, stop.proven, network, stop.source)


def outdated(kept: KeptHost, agent_mark: str, files: Iterable[Path]) -> bool:
    """Report whether a retry may work: the ssh-agent or one of these files changed after the refusal."""
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
