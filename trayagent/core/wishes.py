"""Whether a host is to be connected, by what the user wrote and said; pure."""

from __future__ import annotations

from trayagent.core.hosts import Host


def wanted(host: Host) -> bool:
    """Report whether a host without a master is to get one."""
    if host.by_user:
        return True
    if host.held or host.stranger or host.wish.connect == "never":
        return False
    return host.wish.connect == "always" or host.lost
