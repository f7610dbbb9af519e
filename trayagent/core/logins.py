"""Who must be there for a login; docs/architecture.md, *Words*; pure."""

from __future__ import annotations

from trayagent.core.hosts import Host

_QUIET_COMMANDS = {"ssh", "nc"}  # any other ProxyCommand may open a browser or ask for a touch


def asks_person(host: Host) -> bool:
    """Report whether a login of this host may ask a person for something."""
    return waits_for_person(host) or foreign_proxy(host)


def waits_for_person(host: Host) -> bool:
    """Report whether nobody but a person can log in, or may be disturbed by it: no login goes by itself."""
    return host.wish.interactive or host.login != "quiet"


def foreign_proxy(host: Host) -> bool:
    """Report whether the host is reached through a command that is not ssh or nc."""
    command = host.resolved.proxy_command if host.resolved is not None else None
    if command is None:
        return False
    words = command.removeprefix("exec ").split()
    return not words or words[0].rpartition("/")[2] not in _QUIET_COMMANDS
