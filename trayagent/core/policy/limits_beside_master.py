"""Finds the limits on where a host may be contacted. An ssh beside a master has those of several hosts; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trayagent.core.facts.host_table import once
from trayagent.core.facts.hosts import Host, Wish


def limits(host: Host, hosts: Mapping[str, Host]) -> tuple[Wish, ...]:
    """Return the wishes that must all allow a connection to the host: its own, as a rule.

    For an ssh beside a master, these are the wishes of the host that it names. If it does not use that host's usual
    first hop, each host counts whose chain has the server that it is connected to, or the name that it was given.
    """
    draining, master = host.draining, host.master
    if draining is None or draining.beside is None or master is None:
        return (host.wish,)
    beside, peer = draining.beside, (master.peer, master.peer_port)
    return once(hosts, _limits, draining.owner, beside.named, beside.names, peer)


def left_alone(host: Host, hosts: Mapping[str, Host]) -> bool:
    """Report whether the agent never connects the host (`connect = "never"`)."""
    return any(wish.connect == "never" for wish in limits(host, hosts))


def leads_to(host: Host, peer: tuple[str | None, int]) -> bool:
    """Report whether a connection to the host begins at this address and port: its own, or those of its jump host."""
    if host.hop is None or host.hop.port != peer[1]:
        return False
    return peer[0] == host.hop.hostname or peer[0] in host.addresses


def _limits(
    hosts: Mapping[str, Host], name: str, named: bool, names: frozenset[str], peer: tuple[str | None, int]
) -> tuple[Wish, ...]:
    owner = hosts.get(name)
    if owner is not None and named and leads_to(owner, peer):
        return (owner.wish,)
    # The port does not matter here, because the limits are about the machine.
    known = names | ({peer[0]} if peer[0] is not None else frozenset())
    others = (h for h in hosts.values() if h is not owner and h.draining is None)
    concerned = [h.wish for h in others if not known.isdisjoint(_chain(h))]
    return (owner.wish if owner is not None else Wish(), *concerned)


def _chain(host: Host) -> Iterable[str]:
    """Yield the names and addresses of the host, and of its jump hosts."""
    yield host.name
    yield from host.addresses
    if host.master is not None and host.master.peer is not None:
        yield host.master.peer
    for hop in (host.hop, *host.later_hops):
        if hop is not None:
            yield hop.hostname
    if host.resolved is not None:
        yield host.resolved.hostname
        yield from (jump.host for jump in host.resolved.jumps)
