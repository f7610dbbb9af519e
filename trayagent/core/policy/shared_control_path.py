"""Decides to which of several hosts with one control path a master belongs; pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.master_origin import MasterOrigin
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.usable_routes import is_address


def same_account(one: Host, other: Host) -> bool:
    """Report whether two hosts lead to the same account by the same route, so that either can replace a lost master."""
    first, second = one.resolved, other.resolved
    if first is None or second is None:
        return True
    return account(first) == account(second) and route(first) == route(second)


def account(resolved: Resolved) -> tuple[str, int, str]:
    """Return the server and the user to which a name leads.

    ssh before version 9.6 leaves the jump host out of %C, so two routes to one account may have one control path.
    """
    return resolved.hostname, resolved.port, resolved.user


def route(resolved: Resolved) -> tuple[str | None, str | None]:
    """Return the jump hosts and the ProxyCommand of a name."""
    return resolved.proxy_jump, resolved.proxy_command


def fits(resolved: Resolved | None, master: Master, origin: MasterOrigin) -> bool:
    """Report whether a login by this name could have made the master, as far as its connection shows."""
    return not leads_elsewhere(resolved, master) and not takes_another_route(resolved, origin)


def takes_another_route(resolved: Resolved | None, origin: MasterOrigin) -> bool:
    """Report whether a name certainly leads through other machines than the connection of a master."""
    if resolved is None or origin.route is None or resolved.proxy_use_fdpass:
        return False  # a ProxyCommand that passes a socket to ssh (fdpass) looks like no proxy
    if (origin.route == "direct") != (resolved.proxy_jump is None and resolved.proxy_command is None):
        return True
    return origin.jump is not None and bool(resolved.jumps) and resolved.jumps[-1].host != origin.jump


def leads_elsewhere(resolved: Resolved | None, master: Master) -> bool:
    """Report whether a master is certainly connected to another server than the one to which a host's name leads.

    If the HostName is not an IP address, any address may be right. Behind a jump host or ProxyCommand, the connection
    does not show the server.
    """
    if resolved is None or master.peer is None or not master.direct:
        return False
    if resolved.proxy_jump or resolved.proxy_command:
        return False
    if resolved.port != master.peer_port:
        return True
    literal = is_address(resolved.hostname)
    return literal and ip_address(resolved.hostname.partition("%")[0]) != ip_address(
        master.peer.partition("%")[0]
    )


def held_by_another(host: Host, hosts: Mapping[str, Host], pid: int) -> Host | None:
    """Return the host whose current or next master has this pid. None if it leads to the same account and route."""
    for other in hosts.values():
        if other.name == host.name or other.unnamed:
            continue
        ready = other.attempt.ready if other.attempt is not None else None
        if pid in {master.pid for master in (*other.masters, ready) if master is not None}:
            return None if same_account(host, other) else other
    return None
