"""Explains "Permission denied" further: a key that only the user can unlock, or an expired certificate."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from trayagent.agent.masters.expired_certificates import expired
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.certificates import any_expired_certificate
from trayagent.ssh.login.read_keys import agent_socket, passphrase_needed


def explained(failure: Failure, resolved: Resolved | None, environment: Mapping[str, str]) -> Failure:
    """Return the failure, with a better explanation if the keys and the ssh-agent reveal more than ssh did."""
    if failure.kind != "auth" or resolved is None:
        return failure
    key = passphrase_needed(agent_socket(resolved, environment), resolved.identity_files)
    if key is None:
        certificate = any_expired_certificate(resolved, time.time())
        return failure if certificate is None else replace(failure, problem=expired(certificate))
    return locked(key, resolved.host, positive=failure.positive)


def locked(key: Path, host: str, *, positive: bool) -> Failure:
    """Return the failure of a login that needs a key with a passphrase."""
    # An ssh-agent does not report a new key, so the user has to reconnect.
    hint = f"ssh-add {shlex.quote(str(key))}, then: trayagent reconnect {host}. Or: trayagent login {host}"
    problem = Problem("passphrase-needed", f"The key {key.name} needs its passphrase", hint)
    return Failure(problem, "passphrase", positive=positive)
