"""Decides when the forwards of a host are requested; pure."""

from __future__ import annotations

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import EnsureForwards
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master


def request_forwards(context: Context, host: Host, master: Master) -> float | None:
    """Request the forwards if the request is due. Otherwise return when it is due."""
    if not host.linked:
        return None
    if not host.forwards.due(context.now):
        return host.forwards.retry_at
    context.put(host, forwards=host.forwards.rest())
    # Leave the forwards of the user's own ssh alone.
    if host.wish.listed or master.started_by_agent or host.forwards.states:
        context.do(EnsureForwards(host.name, host.forwarding_master or master))
    return None
