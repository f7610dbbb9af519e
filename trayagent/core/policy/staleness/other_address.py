"""Decides what it means that a control reached another address than the silent master's; pure.

Several machines may share a name and a host key, such as the login nodes of a cluster. That one of them answers proves
nothing about a connection to another one.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import OtherAddress
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import RENAMED_S
from trayagent.core.policy.hostname_edited import readdressed


def reached_another(host: Host, attempt: Attempt, peer: str | None) -> bool:
    """Report whether an attempt reached another address than that of the host's silent master.

    `peer` is the address that it reached. An address of the other family counts as the same server, unless the name has
    several addresses of one family. If the master's local address is gone, its connection can carry nothing to any
    machine. Behind a ProxyCommand, no address shows which server answered.
    """
    master = host.master
    if master is None or master.peer is None or peer in {None, master.peer} or attempt.purpose == "machine":
        return False
    resolved = host.resolved
    by_command = resolved is not None and resolved.proxy_command is not None and resolved.proxy_jump is None
    if host.doubt.gone_at is not None or by_command or readdressed(host):
        return False
    if (found := other_address(host)) is not None and found.replaces:
        return False
    return _is_6(peer) == _is_6(master.peer) or _several(attempt.addresses | {master.peer, peer})


def other_address(host: Host) -> OtherAddress | None:
    """Return the other address that answered in the current doubt about the master, None if there is none."""
    found = host.doubt.other_address
    return found if found is not None and host.suspect and found.at >= host.doubt.began_at else None


def note(host: Host, attempt: Attempt, peer: str, now: float) -> Host:
    """Return the host with the other address that this attempt reached."""
    known = other_address(host)
    here = host.master.peer if host.master is not None else None
    renamed = bool(attempt.addresses) and here not in attempt.addresses
    found = OtherAddress(known.at if known is not None else now, peer, renamed)
    return replace(host, doubt=replace(host.doubt, other_address=found))


def address_to_try(host: Host) -> str | None:
    """Return the address for the next control if not every address of the name will do, else None."""
    found = other_address(host)
    return host.master.peer if found is not None and not found.replaces and host.master is not None else None


def at_old_address(host: Host, attempt: Attempt) -> bool:
    """Report whether an attempt goes to the address of the silent master, because another one answered before."""
    return attempt.purpose == "control" and not attempt.bare and address_to_try(host) is not None


def no_way_to_old_address(host: Host) -> bool:
    """Report whether the next control must reach the master's own address and cannot be directed there."""
    directed = host.master is not None and host.master.direct
    directed = directed and host.resolved is not None and host.resolved.plain_connect
    return address_to_try(host) is not None and not directed


def after_failure(host: Host, attempt: Attempt, now: float) -> Host:
    """Return the host after a failed attempt. A control may have failed at the master's own address.

    If the name no longer leads to that address, and it did not even accept a TCP connection, the server moved.
    """
    found = other_address(host)
    if found is None or not at_old_address(host, attempt):
        return host
    if not found.renamed or attempt.established_at is not None or now - found.at < RENAMED_S:
        return host
    doubt = replace(host.doubt, other_address=replace(found, replaces=True))
    return replace(host, doubt=doubt, retry=replace(host.retry, at=now))


def other_address_answered(host: Host) -> Failure:
    """Return the failure of a login that worked at another address than the silent master's."""
    title = f"Another address of {host.name} answered; the old connection is silent"
    hint = f"The agent keeps the old connection. To replace it: trayagent reconnect --now {host.name}"
    return Failure(Problem("other-machine", title, hint), "other-address")


def _several(addresses: frozenset[str]) -> bool:
    """Report whether there are several addresses of one family."""
    six = sum(map(_is_6, addresses))
    return six > 1 or len(addresses) - six > 1


def _is_6(address: str) -> bool:
    return ":" in address
