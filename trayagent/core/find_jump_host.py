"""Finds the known host that is a jump host; pure."""

from __future__ import annotations

from collections.abc import Mapping

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Jump, Resolved


def last_jump(hosts: Mapping[str, Host], host: Host) -> Host | None:
    """Return the known host that carries connections to this one, or None.

    The last hop counts, since a living master there needs no other hop. A hop may be an alias, or the address and
    port of an alias.
    """
    if host.resolved is None or not host.resolved.jumps:
        return None
    jump = host.resolved.jumps[-1]
    found = hosts.get(jump.host)
    if found is None:
        found = next((h for h in hosts.values() if _is(jump, h.resolved)), None)
    return found if found is not host else None


def _is(jump: Jump, resolved: Resolved | None) -> bool:
    if resolved is None or resolved.hostname != jump.host or (jump.user and jump.user != resolved.user):
        return False
    return resolved.port == (jump.port if jump.port is not None else 22)
