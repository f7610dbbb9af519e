"""Decides whether the last result of `ssh -G` for a host is still valid; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.usable_routes import network_here


def outdated(host: Host, state: State) -> bool:
    """Report whether `ssh -G` must run again before a login.

    The last result is outdated if `ssh -G` was not allowed to query DNS. It is also outdated if it varies with the
    network, and the network may have changed since `ssh -G` ran.
    """
    answer = host.answer
    if host.resolved is None:
        return False
    if not answer.lookups_allowed:
        return True
    if not answer.varies or answer.begun_at >= state.network_at:
        return False
    network = network_here(state.snapshot)
    return network is None or answer.network is None or not answer.network.matches(network)


def certainly_elsewhere(host: Host, state: State) -> bool:
    """Report whether the result varies with the network, and `ssh -G` ran on another network."""
    network, given_at = network_here(state.snapshot), host.answer.network
    moved = network is not None and network.known and given_at is not None and given_at.differs(network)
    return host.answer.varies and moved
