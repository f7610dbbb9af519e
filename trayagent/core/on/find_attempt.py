"""Finds the attempt to which an event belongs; pure."""

from __future__ import annotations

from trayagent.core.decision_context import Context
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.hosts import Host


def find_attempt(context: Context, name: str, number: int) -> tuple[Host | None, Attempt | None]:
    """Return the host and its attempt if that has this number, else None twice."""
    host = context.get(name)
    attempt = host.attempt if host is not None else None
    if attempt is None or attempt.id != number:
        return None, None
    return host, attempt
