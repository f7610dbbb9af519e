"""Whether the last answer of `ssh -G` still holds for a host; pure."""

from __future__ import annotations

from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.routes import place_here


def outdated(host: Host, state: State) -> bool:
    """Report whether `ssh -G` must run again before a login.

    That is so if it was not allowed to look names up, or if its answer may differ between networks and the
    network may be another one since.
    """
    answer = host.answer
    if host.resolved is None:
        return False
    if not answer.looked_up:
        return True
    if not answer.varies or answer.asked_at >= state.network_at:
        return False
    place = place_here(state.network)
    return place is None or answer.place is None or not answer.place.matches(place)


def certainly_elsewhere(host: Host, state: State) -> bool:
    """Report whether the answer varies and was given at another network than this one."""
    place, given_at = place_here(state.network), host.answer.place
    moved = place is not None and place.known and given_at is not None and given_at.differs(place)
    return host.answer.varies and moved
