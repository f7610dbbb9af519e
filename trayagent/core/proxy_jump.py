"""Parses ProxyJump, and finds the known host that is a jump host; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Resolved


@dataclass(frozen=True, slots=True)
class Jump:
    """One hop of a ProxyJump; `user` "" and `port` None mean that ssh_config decides."""

    host: str
    user: str = ""
    port: int | None = None


def parse_jumps(text: str) -> tuple[Jump, ...]:
    """Return the hops of a ProxyJump in the order in which ssh passes them.

    Each is `[user@]host[:port]` or an `ssh://` URI; an IPv6 address is in brackets (ssh_config(5)).
    """
    return tuple(map(_jump, text.split(",")))


def _jump(text: str) -> Jump:
    user, _, rest = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = rest.partition(":") if rest.count(":") == 1 else (rest, "", "")
    return Jump(host, user, int(port) if port.isdecimal() else None)


def last_jump(hosts: Mapping[str, Host], host: Host) -> Host | None:
    """Return the known host that carries connections to this one, or None.

    It is the last hop, since a living master there needs none of the other hops. A hop may be an alias, or the
    address and port of an alias.
    """
    if host.resolved is None or host.resolved.proxy_jump is None:
        return None
    jump = parse_jumps(host.resolved.proxy_jump)[-1]
    found = hosts.get(jump.host)
    if found is None:
        found = next((h for h in hosts.values() if _is(jump, h.resolved)), None)
    return found if found is not host else None


def _is(jump: Jump, resolved: Resolved | None) -> bool:
    if resolved is None or resolved.hostname != jump.host or (jump.user and jump.user != resolved.user):
        return False
    return resolved.port == (jump.port if jump.port is not None else 22)
