"""Decides whether to connect a host, by which kind of attempt, and with which forwards; pure."""

from __future__ import annotations

from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS


def wanted(host: Host) -> bool:
    """Report whether the agent should make a master for a host without one."""
    if host.by_user:
        return True
    if host.user.held or host.unnamed or host.wish.connect == "never":
        return False
    return host.wish.connect == "always" or host.lost or host.awaited or host.roaming is not None


def needs_bare_control(host: Host) -> bool:
    """Report whether a control must be bare: a login would need the user, or must not be made."""
    refused = host.retry.stopped and host.retry.kind in REFUSED_KINDS and host.retry.proven
    expired = host.retry.stopped and host.retry.kind == "certificate"
    return host.unnamed or login_needs_user(host) or refused or expired


def configured_forwards(host: Host) -> tuple[Forward, ...]:
    """Return the forwards of the configuration, then those of ssh_config, each once."""
    own = host.resolved.forwards if host.resolved is not None else ()
    return tuple(dict.fromkeys((*host.wish.forwards, *own)))


def wanted_forwards(host: Host) -> tuple[Forward, ...]:
    """Return the forwards that a host's master should have: the configured ones, then those given by hand."""
    return tuple(dict.fromkeys((*configured_forwards(host), *host.forwards.by_hand)))
