"""Finds the other names of a server: the hosts whose first hop has the same host key or address; pure.

Here a host key only serves to count, and proves nothing. Machines that were cloned with their host key count as one
server, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from trayagent.core.facts.derived import derived_once
from trayagent.core.facts.host_table import once
from trayagent.core.facts.hosts import Host


def names_of(server: str, hosts: Mapping[str, Host]) -> frozenset[str]:
    """Return all names (`Host.server`) of a server: `server`, and those of hosts that share a host key or address.

    The server's addresses are among them, because attempts for an unnamed master are counted under the address.
    """
    return once(hosts, _names_of, server, of=_MARKS)


_MARKS = ("addresses", "hop", "known_keys", "login", "master", "resolved")
"""The fields of hosts that show which names belong to one server."""


def _names_of(hosts: Mapping[str, Host], server: str) -> frozenset[str]:
    servers = once(hosts, _marks_of_servers, of=_MARKS)
    own, addresses = servers.get(server, (frozenset[str](), frozenset[str]()))
    own |= {server}
    return frozenset(
        {server, *addresses, *(name for name, (found, _) in servers.items() if not own.isdisjoint(found))}
    )


def _marks_of_servers(hosts: Mapping[str, Host]) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Return the marks and the addresses of the hosts of each server, by its name."""
    found: dict[str, list[Host]] = {}
    for host in hosts.values():
        found.setdefault(host.server, []).append(host)
    return {
        server: (
            frozenset().union(*map(_marks, sharing)),
            frozenset().union(*map(_addresses, sharing)),
        )
        for server, sharing in found.items()
    }


@derived_once("addresses", "hop", "known_keys", "login", "master", "resolved")
def _marks(host: Host) -> frozenset[str]:
    """Return what identifies the machine to which the host's connection goes first: names, addresses, host keys."""
    return frozenset({host.server, *_addresses(host), *_keys_of_first_hop(host)})


def _addresses(host: Host) -> frozenset[str]:
    port = host.hop.port if host.hop is not None else host.master.peer_port if host.master is not None else 0
    return frozenset(f"{address}:{port}" for address in host.addresses)


def _keys_of_first_hop(host: Host) -> frozenset[str]:
    resolved = host.resolved
    if resolved is not None and (resolved.proxy_jump or resolved.proxy_command):
        return host.hop.known_keys if host.hop is not None else frozenset()
    recorded = host.master.host_key if host.master is not None and host.master.direct else None
    seen = (recorded, host.login.host_key, host.login.refusing_key)
    return host.known_keys | {key for key in seen if key is not None}
