"""Decides whether a host may be connected now; docs/architecture.md, *When the agent starts a login*; pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Code
from trayagent.core.facts.state import State
from trayagent.core.policy.limits_beside_master import limits
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.resolve_again import outdated
from trayagent.core.tunnel_underlay import underlay
from trayagent.core.usable_routes import (
    UsableRoute,
    gateway_unresolved,
    is_address,
    is_private,
    network_here,
    usable_route,
)
from trayagent.core.vpn_state import usable_vpn

_FORGETS = frozenset({"/dev/null", "none"})
"""Values of UserKnownHostsFile with which ssh stores no key."""


class Admission(Struct, frozen=True):
    """The result of the admission check: open (`code` None) with the route to take, or shut with the reason."""

    route: UsableRoute | None
    code: Code | None = None
    evidence: Evidence = NO_EVIDENCE
    needs_sign_in: bool = False
    """The VPN is down, and only a sign-in of the user brings it up again."""
    unidentified: bool = False
    """The gateway is not resolved yet. Once it is, the network may prove to be one where the host was reached."""

    @property
    def open(self) -> bool:
        """Whether a connection may be tried."""
        return self.code is None


def admission(host: Host, state: State, *, by_user: bool = False) -> Admission:
    """Return the result of the admission check for the host's next connection.

    `by_user`: the user requested the connection, so it needs only a usable route and its VPN.
    """
    admitted = Admission(None)
    for wish in limits(host, state.hosts):
        limited = host if wish is host.wish else replace(host, wish=wish)
        admitted = _admission(limited, state, by_user=by_user)
        if not admitted.open:
            break
    return admitted


def _admission(host: Host, state: State, *, by_user: bool) -> Admission:
    route = _route(host, state)
    vpn = host.wish.vpn
    if route is None and underlay(state.snapshot) is None:
        return Admission(None, "unreachable", Evidence.of(network="none"))
    if vpn is not None and _described(vpn, state) and not usable_vpn(state, vpn):
        needs_sign_in = vpn in state.sign_ins
        return Admission(
            route,
            "vpn-down",
            Evidence.of(vpn=vpn, up="no", sign_in=needs_sign_in),
            needs_sign_in=needs_sign_in,
        )
    if route is None:
        learned = host.reached.learned_vpn
        if learned is not None and not _is_up(learned, state) and not _reached_directly_here(host, state):
            return Admission(None, "vpn-down", Evidence.of(learned_vpn=learned, route="none"))
        return Admission(None, "unreachable", Evidence.of(route="none"))
    return Admission(route) if by_user else _automatic(host, route, state)


def _route(host: Host, state: State) -> UsableRoute | None:
    """Return the route of the next connection. If the result of `ssh -G` is outdated, any usable route will do."""
    route = usable_route(host, state.snapshot)
    if route is None and outdated(host, state):
        return usable_route(replace(host, resolved=None, hop=None, master=None), state.snapshot)
    return route


def _automatic(host: Host, route: UsableRoute, state: State) -> Admission:
    """Return the result of the admission check for an automatic connection over this route."""
    vpn = host.wish.vpn
    if state.manager.connectivity == "portal":
        return Admission(route, "captive-portal", Evidence.of(connectivity="portal"))
    # The host and its VPN's table left the configuration. Only the route through which the host was reached
    # identifies the VPN now.
    if vpn is not None and not _described(vpn, state) and not host.reached.at(route.network):
        evidence = Evidence.of(vpn=vpn, table="none", egress=route.interface)
        return Admission(route, "vpn-down", evidence, unidentified=_unidentified(route, state))
    if bypasses_learned_vpn(host, route, state) and not _may_bypass(host, route, state):
        evidence = Evidence.of(learned_vpn=host.reached.learned_vpn, egress=route.interface)
        return Admission(route, "vpn-down", evidence, unidentified=_unidentified(route, state))
    names = _names_at(route, state)
    if not _network_allowed(host, names):
        return Admission(route, "network-not-allowed", Evidence.of(network=" or ".join(names) or None))
    if not strict(host) and needs_known_network(host) and not host.reached.at(route.network):
        network = f"{route.network.egress}/{route.network.gateway or '?'}"
        evidence = Evidence.of(strict="no", network=network, reached="no")
        return Admission(route, "not-here", evidence, unidentified=_unidentified(route, state))
    return Admission(route)


def admission_over(host: Host, state: State, route: UsableRoute) -> Admission:
    """Return the result of the admission check for an automatic connection over this route, whatever others exist."""
    if host.wish.networks and not _names_at(route, state):
        return Admission(route, "network-not-allowed", Evidence.of(network=None))
    return _automatic(host, route, state)


def _unidentified(route: UsableRoute, state: State) -> bool:
    """Report whether the network of a route, or the one to which the best default route leads, is not identified."""
    networks = (route.network, network_here(state.snapshot))
    return any(gateway_unresolved(state.snapshot, network) for network in networks)


def _described(vpn: str, state: State) -> bool:
    """Report whether the configuration still describes this VPN."""
    return any(known.name == vpn for known in state.vpns)


def bypasses_learned_vpn(host: Host, route: UsableRoute, state: State) -> bool:
    """Report whether a route bypasses the VPN through which the host was reached before."""
    return host.reached.learned_vpn is not None and not through_tunnel(route, state)


def _may_bypass(host: Host, route: UsableRoute, state: State) -> bool:
    """Report whether a login without the learned VPN may be tried here.

    Such a login may always be tried where the host was reached directly. On another network it may be tried once, and
    only if ssh checks the host key, because the private address may belong to another machine there. Only a failed
    login counts as a try (`failed_without_vpn`), not one that a move cut short.
    """
    if _reached_directly_here(host, state):
        return True
    tried = any(known.matches(route.network) for known in host.reached.failed_without_vpn)
    return strict(host) and not login_needs_user(host) and route.network.known and not tried


def _is_up(tunnel: str, state: State) -> bool:
    """Report whether a tunnel's device is up. If it is up, what is missing is an underlay, not the VPN."""
    interface = state.snapshot.interface(tunnel)
    return interface is not None and interface.up


def _reached_directly_here(host: Host, state: State) -> bool:
    return host.reached.at(network_here(state.snapshot))


def through_tunnel(route: UsableRoute, state: State) -> bool:
    """Report whether a route leads into a tunnel."""
    interface = state.snapshot.interface(route.interface)
    return interface is not None and interface.kind == "vpn"


def _names_at(route: UsableRoute, state: State) -> tuple[str, ...]:
    """Return the names of the network of a route (for a tunnel: of its underlay), () if unknown."""
    under = underlay(state.snapshot) if through_tunnel(route, state) else None
    egress = under[0] if under is not None else route.interface
    link = state.manager.link(egress)
    named = link.name if link is not None else state.manager.network
    if named is not None and named.interface in {None, egress}:
        return tuple(name for name in (named.connection, named.ssid) if name)
    name = state.snapshot.name_at(egress)
    return (name,) if name else ()


def _network_allowed(host: Host, names: tuple[str, ...]) -> bool:
    patterns = host.wish.networks
    if not patterns:
        return True
    denied = [p[1:] for p in patterns if p.startswith("!")]
    allowed = [p for p in patterns if not p.startswith("!")]
    if any(fnmatchcase(name, p) for p in denied for name in names):
        return False
    return not allowed or any(fnmatchcase(name, p) for p in allowed for name in names)


def strict(host: Host) -> bool:
    """Report whether ssh logs in only after the server proved a key that is in the user's known_hosts."""
    if host.resolved is None:
        return True
    checking = host.resolved.strict_host_key_checking
    # `accept-new` protects only if ssh stores keys, and only after a first success, when the key is known.
    files = host.resolved.user_known_hosts
    forgets = bool(files) and _FORGETS.issuperset(files)
    return checking in {"yes", "ask"} or (checking == "accept-new" and _key_is_known(host) and not forgets)


def _key_is_known(host: Host) -> bool:
    """Report whether ssh has stored a key of the host: the host was reached, perhaps on an unidentified network."""
    return bool(host.reached.networks or host.reached.interfaces or host.known_keys)


def needs_known_network(host: Host) -> bool:
    """Report whether the host's address is private. On another network, another machine may have that address."""
    target = host.hop.hostname if host.hop is not None else None
    if target is not None and is_address(target):
        return is_private(target)
    return host.reached.learned_vpn is not None or any(is_private(ip) for ip in host.addresses)
