"""Decides for which hosts the agent waits for `ssh -G` before its first decisions; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trayagent.config.model import Host


def needed_at_start(hosts: Mapping[str, Host], recorded: Collection[str], *, masters: bool) -> frozenset[str]:
    """Return the names of the hosts to wait for.

    `recorded`: the hosts of which the agent has a record. `masters`: a control socket listens on this machine. It may
    belong to any host, and only the answers tell to which. Without one, the agent need not wait for a host that it
    never used and does not connect: with a thousand of them, `ssh -G` takes seconds.
    """
    if masters:
        return frozenset((*hosts, *recorded))
    return frozenset((*(name for name, host in hosts.items() if host.connect == "always"), *recorded))
