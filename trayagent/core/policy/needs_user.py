"""Who must be there for a login; docs/architecture.md, *Words*; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host

_KNOWN_COMMANDS = {"ssh", "nc"}  # these log in nowhere by any means but ssh's, and open no browser


def waits_for_person(host: Host) -> bool:
    """Report whether nobody but a person can log in, or may be disturbed by it: no login goes by itself."""
    return host.wish.interactive or host.login != "quiet"


def foreign_proxy(host: Host) -> bool:
    """Report whether the host is reached through a command that is not ssh or nc.

    Such a command may want a browser or a token that expires. A background login runs it where it cannot open
    a window (`agent/guard`), and what it does there says whether a person is needed.
    """
    command = host.resolved.proxy_command if host.resolved is not None else None
    if command is None:
        return False
    words = command.removeprefix("exec ").split()
    return not words or words[0].rpartition("/")[2] not in _KNOWN_COMMANDS
