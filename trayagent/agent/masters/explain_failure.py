"""Explains "Permission denied" further: a key that only the user can unlock, or an expired certificate."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.time_constants import NEVER
from trayagent.ssh.login.certificates import Certificate, any_expired_certificate, expired_certificate
from trayagent.ssh.login.read_keys import agent_socket, passphrase_needed
from trayagent.ssh.os.control_sockets import accepts


def explained(failure: Failure, resolved: Resolved | None, environment: Mapping[str, str]) -> Failure:
    """Return the failure, with a better explanation if the keys and the ssh-agent reveal more than ssh did."""
    if failure.kind != "auth" or resolved is None:
        return failure
    key = passphrase_needed(agent_socket(resolved, environment), resolved.identity_files)
    if key is None:
        certificate = any_expired_certificate(resolved, time.time())
        return failure if certificate is None else replace(failure, problem=_expired(certificate))
    return locked(key, resolved.host, positive=failure.positive)


def expired_meanwhile(host: Host, now: float) -> Failure | None:
    """Return the failure of a login that is hopeless because a certificate expired. None: try the login.

    Check the host's certificate, and those of jump hosts without a master. One that had expired before the last login
    that worked is not needed. A login that the user requested is always tried. `now` is monotonic.
    """
    if host.resolved is None or host.by_user or host.login.worked_at == NEVER:
        return None
    wall = time.time()
    worked_at = wall - (now - host.login.worked_at)
    for resolved in _logins(host.resolved):
        certificate = expired_certificate(resolved, wall)
        if certificate is not None and worked_at <= certificate.valid_before:
            jump = resolved.host if resolved is not host.resolved else None
            return Failure(_expired(certificate, jump), "certificate")
    return None


def _logins(resolved: Resolved) -> Iterator[Resolved]:
    """Yield the host and the jump hosts to which ssh would log in."""
    yield resolved
    jump = resolved.jump
    while jump is not None and not (jump.control_path is not None and accepts(jump.control_path)):
        yield jump
        jump = jump.jump


def _expired(certificate: Certificate, jump: str | None = None) -> Problem:
    ended = dt.datetime.fromtimestamp(certificate.valid_before).astimezone()
    whose = f" for the jump host {jump}" if jump is not None else ""
    title = f"The certificate {certificate.path.name}{whose} expired on {ended:%Y-%m-%d at %H:%M}"
    return Problem("auth-denied", title, "Renew it; then its hosts connect")


def locked(key: Path, host: str, *, positive: bool) -> Failure:
    """Return the failure of a login that needs a key with a passphrase."""
    # An ssh-agent does not report a new key, so the user has to reconnect.
    hint = f"ssh-add {shlex.quote(str(key))}, then: trayagent reconnect {host}. Or: trayagent login {host}"
    problem = Problem("passphrase-needed", f"The key {key.name} needs its passphrase", hint)
    return Failure(problem, "passphrase", positive=positive)
