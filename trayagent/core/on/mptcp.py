"""Handles what connections by Multipath TCP show about a host's server; pure."""

from __future__ import annotations

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.events import MptcpChecked
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.mptcp import Outcome
from trayagent.core.facts.time_constants import NEVER
from trayagent.core.policy.mptcp import note_outcome
from trayagent.core.usable_routes import network_from


def checked(context: Context, event: MptcpChecked) -> None:
    """Store what doctor's check of a server showed. Only an answer there makes the agent use Multipath TCP.

    It holds for all hosts of that server.
    """
    checked_host = context.get(event.name)
    if checked_host is None:
        return
    for name in context.names:
        host = context.get(name)
        if host is None or host.draining is not None or host.server != checked_host.server:
            continue
        if event.outcome == "answered" or host.mptcp.seen_at > NEVER:
            note(context, host, event.outcome, event.local)


def note(context: Context, host: Host, outcome: Outcome, local: str | None) -> Host:
    """Store how a connection from the address `local` went."""
    network = network_from(context.state.snapshot, local) if local is not None else None
    known = note_outcome(host.mptcp, outcome, network, context.now)
    evidence = Evidence.of(outcome=outcome, network=network.egress if network is not None else None)
    if outcome != "answered" or host.mptcp.seen_at == NEVER:
        context.because(host.name, 0, "mptcp", evidence)
    host = context.put(host, mptcp=known)
    context.do(Remember(host.name))
    return host
