"""Decides when a master gets its sentinel, so that it does not delay the logins of other hosts; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import SENTINEL_LATEST_S
from trayagent.core.policy.wanted_connection import wanted_forwards


def sentinel_due_at(host: Host, state: State, now: float) -> float:
    """Return when the host's master may get its sentinel, `now` or earlier: at once.

    A sentinel costs the server a shell, and this machine some milliseconds. While other hosts log in after a move, they
    come first. Until then, a probe is a forward that the server refuses. A host with a remote forward does not wait:
    its sentinel shows which process on the server holds the port, and the next master may have to end that process.
    """
    if not _login_running(state) or any(forward.kind == "remote" for forward in wanted_forwards(host)):
        return now
    return host.login.worked_at + SENTINEL_LATEST_S


def _login_running(state: State) -> bool:
    """Report whether the agent is logging in to a host. A login at a terminal does not count: it may take minutes."""
    attempts = (host.attempt for host in state.hosts.values())
    return any(
        attempt is not None and not (attempt.is_banner_check or attempt.unwanted or attempt.at_prompt)
        for attempt in attempts
    )
