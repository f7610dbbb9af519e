"""What "Permission denied" hides: a key that only the user can unlock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trayagent.core.failure import Failure
from trayagent.core.problems import Problem
from trayagent.core.resolved import Resolved
from trayagent.ssh.credentials import passphrase_needed


def explained(failure: Failure, resolved: Resolved | None, environment: Mapping[str, str]) -> Failure:
    """Return the failure, told more exactly where a look at keys and agent says more than ssh did."""
    if failure.kind != "auth" or resolved is None:
        return failure
    key = passphrase_needed(_auth_sock(resolved, environment), resolved.identity_files)
    if key is None:
        return failure
    problem = Problem(
        "passphrase-needed", f"The key {key.name} asks for its passphrase", f"Unlock it: ssh-add {key}"
    )
    return Failure(problem, "passphrase", positive=failure.positive)


def _auth_sock(resolved: Resolved, environment: Mapping[str, str]) -> str | None:
    """Return which agent ssh asks (ssh_config(5), IdentityAgent)."""
    named = resolved.identity_agent
    if named is None or named == "SSH_AUTH_SOCK":
        return environment.get("SSH_AUTH_SOCK")
    if named == "none":
        return None
    return environment.get(named[1:]) if named.startswith("$") else str(Path(named).expanduser())
