"""Refused logins outlive the agent: one that is started again and again must lock no account."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trayagent.agent.state.record_types import KeptHost, KeptRefusal
from trayagent.core.facts.events import Refusal
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import NEVER, Host
from trayagent.core.facts.problems import CODES, Problem
from trayagent.core.facts.time_constants import REFUSED_WINDOW_S

# What a server refused. A key that nobody could read is no login: the next agent may find it unlocked.
STOPS: frozenset[FailureKind] = frozenset({"auth", "too-many-keys"})


def keep(kept: KeptHost, host: Host, wall: float, agent_mark: str) -> None:
    """Keep what the next agent must know; `wall` turns the host's times into the wall clock's."""
    kept.refused = [wall + at for at in host.refused]
    kept.refusal = None
    retry = host.retry
    if retry.kind in STOPS and host.problem is not None:
        due = None if retry.at is None else wall + retry.at
        at = wall + retry.failed_at if retry.failed_at > NEVER else None
        kept.refusal = _refusal(retry.kind, host.problem, at, due, agent_mark)


def add(kept: KeptHost, failure: Failure, at: float, agent_mark: str) -> None:
    """Keep a refusal that no agent lived to see."""
    kept.refused.append(at)
    if failure.kind in STOPS:
        kept.refusal = _refusal(failure.kind, failure.problem, at, None, agent_mark)


def ago_s(kept: KeptHost, wall_now: float) -> tuple[float, ...]:
    """Return how long ago logins were refused, as far as it matters; a clock that was set back counts as now."""
    ages = (max(0.0, wall_now - at) for at in kept.refused)
    return tuple(age for age in ages if age < REFUSED_WINDOW_S)


def refusal(kept: KeptHost, wall_now: float) -> Refusal | None:
    """Return how the login of a host was refused, None where it was not (or by an unknown code)."""
    stop = kept.refusal
    if stop is None or stop.code not in CODES:
        return None
    due = None if stop.due is None else max(0.0, stop.due - wall_now)
    return Refusal(stop.kind, Problem(stop.code, stop.title, stop.hint), due)


def outdated(kept: KeptHost, agent_mark: str, files: Iterable[Path]) -> bool:
    """Report whether the user, a key, the ssh-agent or a configuration may have changed what was refused."""
    stop = kept.refusal
    if stop is None:
        return False
    return stop.agent != agent_mark or any(_changed_at(file) > (stop.at or 0.0) for file in files)


def _refusal(
    kind: FailureKind, problem: Problem, at: float | None, due: float | None, agent_mark: str
) -> KeptRefusal:
    return KeptRefusal(kind, problem.code, problem.title, problem.hint, at, due, agent_mark)


def _changed_at(file: Path) -> float:
    """Return when a file was last written or put in place, 0 where it is not."""
    try:
        return file.stat().st_ctime
    except OSError:
        return 0.0
