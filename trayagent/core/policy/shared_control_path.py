"""Decides to which of several hosts with one control path a master belongs; pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.usable_routes import is_address


def same_account(one: Host, other: Host) -> bool:
    """Report whether two hosts lead to the same account, so that a master of one also serves the other."""
    first, second = one.resolved, other.resolved
    return first is None or second is None or _account(first) == _account(second)


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
    """Return the host whose current or next master has this pid, if it leads to another account; else None."""
    for other in hosts.values():
        if other.name == host.name or other.unnamed:
            continue
        ready = other.attempt.ready if other.attempt is not None else None
        if pid in {master.pid for master in (*other.masters, ready) if master is not None}:
            return None if same_account(host, other) else other
    return None


def _account(resolved: Resolved) -> tuple[str, int, str]:
    # The jump host does not count. Older versions of ssh leave it out of %C, so two routes to one server share a path.
    return resolved.hostname, resolved.port, resolved.user
