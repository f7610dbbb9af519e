"""Finds the known host through which ssh reaches another host; pure."""

from __future__ import annotations

from collections.abc import Mapping

from trayagent.core.facts.host_table import once
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Jump, Resolved


def last_jump(hosts: Mapping[str, Host], host: Host) -> Host | None:
    """Return the known host that carries connections to this one, or None.

    Only the last hop of ProxyJump counts, since a living master there needs no other hop. ProxyJump may contain the
    hop's alias, or the address and port of the alias. Without ProxyJump, ssh_config may lead the host to a local
    forward of another host. Then that other host carries the connections.
    """
    if host.resolved is None:
        return None
    if not host.resolved.jumps:
        return _forwarder(hosts, host, host.resolved)
    jump = host.resolved.jumps[-1]
    found = hosts.get(jump.host)
    if found is None:
        name = once(hosts, _known_as, jump, of=("resolved",))
        found = hosts.get(name) if name is not None else None
    return found if found is not host else None


def _known_as(hosts: Mapping[str, Host], jump: Jump) -> str | None:
    """Return the name of the host to which the words in ProxyJump lead."""
    return next((h.name for h in hosts.values() if _is(jump, h.resolved)), None)


def _forwarder(hosts: Mapping[str, Host], host: Host, resolved: Resolved) -> Host | None:
    """Return the host whose local forward carries the connections to `host`, or None.

    In that case ssh_config leads `host` to a port of this machine.
    """
    if resolved.proxy_command is not None or not _is_loopback(resolved.hostname):
        return None
    others = (other for other in hosts.values() if other is not host)
    return next((other for other in others if _listens(other, resolved.port)), None)


def _is_loopback(hostname: str) -> bool:
    return hostname in {"localhost", "::1"} or hostname.startswith("127.")


def _listens(host: Host, port: int) -> bool:
    forwards = (one.forward for one in host.forwards.states)
    return any(f.kind == "local" and f.listen.path is None and f.listen.port == port for f in forwards)


def _is(jump: Jump, resolved: Resolved | None) -> bool:
    if resolved is None or resolved.hostname != jump.host or (jump.user and jump.user != resolved.user):
        return False
    return resolved.port == (jump.port if jump.port is not None else 22)
