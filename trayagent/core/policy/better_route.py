"""Tries a better route beside a connection that has not been answered yet; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Redial
from trayagent.core.facts.attempt import Attempt, RouteOut
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Snapshot
from trayagent.core.facts.time_constants import REDIALS_MAX
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.logins.login_limits_per_server import ended, started
from trayagent.core.policy.logins.login_waits import before_login, origin_of
from trayagent.core.usable_routes import usable_routes


def race(context: Context, host: Host, admitted: Admission) -> Host:
    """Begin a second connection for an attempt that no server has answered, if another route has appeared.

    If the first connection is answered after all, the agent keeps that one and reports it.
    """
    attempt = host.attempt
    if (
        attempt is None
        or admitted.route is None
        or not _unanswered(attempt)
        or attempt.redials >= REDIALS_MAX
    ):
        return host
    # Without its learned VPN, a host gets one attempt on each network. `begin_attempt.holds` ends that attempt when the
    # VPN is up again.
    if host.reached.learned_vpn is not None:
        return host
    routes = routes_out(host, context.state.snapshot)
    moved = attempt.network is not None and admitted.route.network.differs(attempt.network)
    if routes <= attempt.routes and not moved:
        return host
    if not _may_begin_there(context, host, attempt, admitted):
        return host
    context.do(Redial(host.name, attempt.id))
    source = admitted.route.source
    context.because(
        host.name, 0, "redial", Evidence.of(attempt=attempt.id, source=source, was=attempt.source)
    )
    # No server has seen the attempt yet, so the attempt counts only for its current network.
    origin = origin_of(host, context.state, admitted)
    servers = started(context.state.servers, host.server, attempt.id, origin, attempt.started_at)
    context.change(servers=servers)
    attempt = replace(
        attempt, routes=routes, network=admitted.route.network, source=source, redials=attempt.redials + 1
    )
    return context.put(host, attempt=attempt)


def _may_begin_there(context: Context, host: Host, attempt: Attempt, admitted: Admission) -> bool:
    """Report whether the login may also begin over the new route. A limit may be reached on the new network."""
    now, servers = context.now, ended(context.state.servers, attempt.id, context.now, "unseen")
    without = replace(context.state, servers=servers)
    return before_login(host, without, admitted, now, by_user=attempt.purpose == "user") is None


def routes_out(host: Host, snapshot: Snapshot) -> frozenset[RouteOut]:
    """Return the interfaces and addresses from which the host's next connection may go."""
    tentative = {a.ip for i in snapshot.interfaces for a in i.addresses if a.tentative}
    usable = ((route.interface, route.source) for route in usable_routes(host, snapshot))
    return frozenset((interface, source) for interface, source in usable if source not in tentative)


def _unanswered(attempt: Attempt) -> bool:
    begun = attempt.established_at is None and attempt.positive_at is None and attempt.refused is None
    return begun and not (attempt.bare or attempt.at_terminal or attempt.unwanted or attempt.taking_over)
