"""Decides whether a login needs the user; docs/architecture.md, *Words*; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host

_KNOWN_COMMANDS = {"ssh", "nc"}  # these commands use no login but ssh's, and open no browser


def login_needs_user(host: Host) -> bool:
    """Report whether the agent must not log in automatically: the login needs the user, or is set as interactive."""
    return host.wish.interactive or host.login.kind != "quiet"


def foreign_proxy(host: Host) -> bool:
    """Report whether the host is reached through a command that is not ssh or nc.

    Such a command may open a browser or use a token that expires. A background login runs the command in a guard that
    blocks windows (`ssh/login/background_guard`). What the command does in the guard shows whether it needs the user.
    """
    command = host.resolved.proxy_command if host.resolved is not None else None
    if command is None:
        return False
    words = command.removeprefix("exec ").split()
    return not words or words[0].rpartition("/")[2] not in _KNOWN_COMMANDS
