"""Finds the certificates without which a login is hopeless, because they have expired."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.time_constants import NEVER
from trayagent.ssh.login.certificates import Certificate, expired_certificate
from trayagent.ssh.os.control_sockets import accepts


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
            return Failure(expired(certificate, jump), "certificate")
    return None


def _logins(resolved: Resolved) -> Iterator[Resolved]:
    """Yield the host and the jump hosts to which ssh would log in."""
    yield resolved
    jump = resolved.jump
    while jump is not None and not (jump.control_path is not None and accepts(jump.control_path)):
        yield jump
        jump = jump.jump


def expired(certificate: Certificate, jump: str | None = None) -> Problem:
    """Return the problem that this certificate has expired. `jump` is the jump host that it is for."""
    ended = dt.datetime.fromtimestamp(certificate.valid_before).astimezone()
    whose = f" for the jump host {jump}" if jump is not None else ""
    title = f"The certificate {certificate.path.name}{whose} expired on {ended:%Y-%m-%d at %H:%M}"
    return Problem("auth-denied", title, "Renew it; then its hosts connect")
