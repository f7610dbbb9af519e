"""Reads the network again while a host waits for the identity of the network; pure."""

from __future__ import annotations

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import ReadNetwork
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import READ_AGAIN_S, READ_AGAIN_SPACING_S
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.wanted_connection import needs_bare_control, wanted
from trayagent.core.usable_routes import gateway_unresolved


def identify_network(context: Context, host: Host, admitted: Admission) -> float | None:
    """Request a reading of the network if the host waits for the network's identity. Return when to continue.

    The kernel may have resolved the gateway since the last reading without a report. While the host may not be
    contacted, any later event causes a reading, too. No timer follows the last time in READ_AGAIN_S.
    """
    state, now = context.state, context.now
    if not _waits(host, state, admitted):
        return None
    due = [state.network_at + after for after in READ_AGAIN_S if state.network_at + after > state.read_at]
    blocked = host.master is None or host.suspect
    if (blocked and now - state.read_at >= READ_AGAIN_SPACING_S) or (due and due[0] <= now):
        context.change(read_at=now)
        context.do(ReadNetwork(host.name))
    if blocked:
        context.decide_again(context.state.read_at + READ_AGAIN_SPACING_S)
    return next((at for at in due if at > now), None)


def _waits(host: Host, state: State, admitted: Admission) -> bool:
    """Report whether the identity of the network decides what the agent may do for a host, or what it records."""
    if host.master is None:
        return admitted.unidentified and wanted(host)
    if not host.suspect:  # the agent records the network as one where the host was reached
        return gateway_unresolved(state.snapshot, host.network) and not host.reached.at(host.network)
    if admitted.unidentified:
        return True
    route = admitted.route
    return (
        needs_bare_control(host) and route is not None and gateway_unresolved(state.snapshot, route.network)
    )
