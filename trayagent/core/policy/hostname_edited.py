"""Decides what a HostName edited in ssh_config means for a master that was made before; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host


def readdressed(host: Host) -> bool:
    """Report whether ssh_config now leads to another address than when the host's master was made."""
    before = host.master.target if host.master is not None else None
    after = host.resolved.target if host.resolved is not None else None
    return before is not None and after is not None and before != after


def replaced_by_edit(host: Host) -> bool:
    """Report whether a login that succeeds replaces a master in doubt, because ssh_config now names another address.

    ssh must have checked the key. With `accept-new`, ssh would accept any key at an address that it does not know.
    """
    return checks_every_key(host) and readdressed(host)


def checks_every_key(host: Host) -> bool:
    """Report whether ssh logs in only where the user's known_hosts has the key.

    With `accept-new`, ssh may have learned a key of another type from any machine.
    """
    return host.resolved is not None and host.resolved.strict_host_key_checking in {"yes", "ask"}
