"""Determine how a login was made, from ssh's log at VERBOSE and from the keys that the login could use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trayagent.core.facts.hosts import LoginKind
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.login_keys import login_keys, login_obstacle
from trayagent.ssh.login.read_keys import agent_socket, identities

# sshconnect2.c: ssh_userauth2 logs the last method, and input_userauth_failure logs earlier methods that succeeded
# partially.
_METHOD = re.compile(r'^Authenticated (?:to .+ )?using "([^"]+)"', re.MULTILINE)
_TYPED = {"password", "keyboard-interactive"}


def login_kind(
    log: str, resolved: Resolved, environment: Mapping[str, str], *, at_terminal: bool
) -> LoginKind:
    """Return what a login needed from the user. Only at a terminal can the user have typed something."""
    methods = set(_METHOD.findall(log))
    if methods & _TYPED:
        return "typed"
    if "publickey" not in methods:
        return "quiet"
    key = login_obstacle(resolved, login_keys(resolved, identities(agent_socket(resolved, environment)))).get(
        "key"
    )
    if key in {"hardware", "security_key"}:
        return "touched"
    return "unlocked" if key == "locked" and at_terminal else "quiet"
