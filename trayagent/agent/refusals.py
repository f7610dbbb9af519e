"""Refused logins outlive the agent: one that is started again and again must lock no account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from trayagent.core.events import Refusal
from trayagent.core.failure import Failure, FailureKind
from trayagent.core.hosts import Host
from trayagent.core.problems import CODES, Problem
from trayagent.core.timing import REFUSED_WINDOW_S

# What a server refused. A key that nobody could read is no login: the next agent may find it unlocked.
STOPS: frozenset[FailureKind] = frozenset({"auth", "too-many-keys"})

Kept = dict[str, Any]
"""`refused`: when, in seconds of the wall clock; `refusal`: how it stands, None where nothing is refused."""


def kept(host: Host, wall: float, agent_mark: str) -> Kept:
    """Return what the next agent must know; `wall` turns the host's times into the wall clock's."""
    found: Kept = {"refused": [wall + at for at in host.refused], "refusal": None}
    if host.retry.kind in STOPS and host.problem is not None:
        due = None if host.retry.at is None else wall + host.retry.at
        found["refusal"] = _stop(host.retry.kind, host.problem, wall + host.retry.failed_at, due, agent_mark)
    return found


def one_more(known: Mapping[str, Any], failure: Failure, at: float, agent_mark: str) -> Kept:
    """Return what is kept after a refusal that no agent lived to see."""
    found: Kept = {"refused": [*known.get("refused", ()), at], "refusal": known.get("refusal")}
    if failure.kind in STOPS:
        found["refusal"] = _stop(failure.kind, failure.problem, at, None, agent_mark)
    return found


def ago_s(known: Mapping[str, Any], wall_now: float) -> tuple[float, ...]:
    """Return how long ago logins were refused, as far as it matters; a clock that was set back counts as now."""
    ages = (max(0.0, wall_now - at) for at in known.get("refused", ()))
    return tuple(age for age in ages if age < REFUSED_WINDOW_S)


def refusal(known: Mapping[str, Any], wall_now: float) -> Refusal | None:
    """Return how the login of a host stands, None where nothing is refused (or what was kept makes no sense)."""
    stop = known.get("refusal")
    if (
        not isinstance(stop, dict)
        or stop.get("kind") not in get_args(FailureKind)
        or stop.get("code") not in CODES
    ):
        return None
    due = stop.get("due")
    problem = Problem(stop["code"], str(stop.get("title")), str(stop.get("hint")))
    return Refusal(stop["kind"], problem, None if due is None else max(0.0, due - wall_now))


def outdated(known: Mapping[str, Any], agent_mark: str, files: Iterable[Path]) -> bool:
    """Report whether the user, a key, the ssh-agent or a configuration may have changed what was refused."""
    stop = known.get("refusal")
    if not isinstance(stop, dict):
        return False
    return stop.get("agent") != agent_mark or any(_changed_at(file) > stop.get("at", 0.0) for file in files)


def _stop(kind: FailureKind, problem: Problem, at: float, due: float | None, agent_mark: str) -> Kept:
    return {"kind": kind, **problem.as_json(), "at": at, "due": due, "agent": agent_mark}


def _changed_at(file: Path) -> float:
    """Return when a file was last written or put in place, 0 where it is not."""
    try:
        return file.stat().st_ctime
    except OSError:
        return 0.0
