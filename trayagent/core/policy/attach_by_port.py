"""Decides when a link moves to the far relay's TCP port, which needs no login; pure. See docs/roaming.md.

The token of the connection proves the far relay, as a checked host key proves a server. So the agent may try the port
wherever it may connect ssh directly to the server's address, also for a host whose login needs the user.
"""

from __future__ import annotations

from math import inf

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import AttachByPort
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Origin, Touched
from trayagent.core.facts.roaming import Roaming
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.logins.login_needs_user import login_needs_user


def move_to_port(context: Context, host: Host, admitted: Admission) -> float | None:
    """Begin to move the link to the port if no other link is known to work. Return when to continue."""
    roaming = host.roaming
    if roaming is None or not admitted.open or not may_use_port(host):
        return None
    here = _origin(admitted)
    same = roaming.port_from is not None and roaming.port_from.same(here)
    if roaming.by_port_since is None and _outer_works(host):
        return None
    if same and not roaming.port_doubted:
        if roaming.by_port_since is not None:
            return None
        if context.now < roaming.port_retry_at:
            return roaming.port_retry_at if roaming.port_retry_at < inf else None
    _attach(context, host, roaming, here)
    return None


def _attach(context: Context, host: Host, roaming: Roaming, here: Origin) -> None:
    before = roaming.port_from
    if before is not None and not before.same(here):
        roaming = replace(roaming, port_fails=0)
    # A link that left from another network carries nothing any more.
    if before is not None and not _certainly_same(before, here) and roaming.by_port_since is not None:
        roaming = lost(roaming, context.now)
    context.put(host, roaming=replace(roaming, port_from=here, port_doubted=False, port_retry_at=inf))
    context.do(AttachByPort(host.name, roaming.address or "", roaming.port or 0))


def _certainly_same(one: Origin, other: Origin) -> bool:
    known = one.network is not None and other.network is not None and one.network.matches(other.network)
    return known and one.source == other.source


def lost(roaming: Roaming, now: float) -> Roaming:
    """Return the facts of a connection whose link on the port is lost."""
    since = roaming.away_since if roaming.away_since is not None else now
    return replace(roaming, by_port_since=None, carrier=None, away_since=since)


def doubt_port(context: Context, host: Host, touched: Touched) -> Host:
    """Have the port attached again if its network flickered: the machine may be on another network. Return the host."""
    roaming = host.roaming
    if roaming is None or roaming.by_port_since is None or roaming.port_from is None:
        return host
    network, source = roaming.port_from.network, roaming.port_from.source
    here = network is not None and network.egress in touched.links | touched.routes
    if not (here or source in touched.addresses or touched.lost):
        return host
    return context.put(host, roaming=replace(roaming, port_doubted=True))


def may_use_port(host: Host) -> bool:
    """Report whether a host's link may move to its far relay's port: it has one, and ssh would connect directly."""
    roaming, resolved = host.roaming, host.resolved
    if roaming is None or roaming.ending or not roaming.port or roaming.address is None:
        return False
    if host.draining is not None or host.wish.roam_port is None:
        return False
    return resolved is not None and resolved.plain_connect


def carried_by_port(host: Host, admitted: Admission) -> bool:
    """Report whether the port carries the link from the present network, so that no outer master is needed."""
    roaming = host.roaming
    if roaming is None or roaming.by_port_since is None or roaming.port_from is None:
        return False
    return admitted.route is not None and roaming.port_from.same(_origin(admitted))


def awaits_port(host: Host, admitted: Admission) -> bool:
    """Report whether the port carries the link, or may soon carry it. Then no login of the user is needed yet."""
    roaming = host.roaming
    if roaming is None or not may_use_port(host):
        return False
    first = roaming.port_retry_at == inf and not roaming.port_fails  # the first attempt from this network
    return carried_by_port(host, admitted) or not roaming.port_failed or first


def _origin(admitted: Admission) -> Origin:
    route = admitted.route
    return Origin(route.network, route.source) if route is not None else Origin()


def _outer_works(host: Host) -> bool:
    """Report whether nothing shows that the outer master cannot carry the link.

    For a host whose login needs the user, a doubt is enough: no attempt would replace its outer master.
    """
    if host.master is None or host.ending:
        return False
    if not host.suspect:
        return True
    if login_needs_user(host) or host.doubt.gone_at is not None:
        return False
    return host.attempt is None or host.attempt.is_banner_check
