"""Checks after each event that no host was skipped that could do something.

An event advances only the hosts that it can concern (`core/policy/settled.py`). Here every host is advanced from the
same facts. Nothing may follow from that.
"""

from __future__ import annotations

from trayagent.core.decision_context import REQUESTS, Context
from trayagent.core.facts.actions import Action, SetTimer
from trayagent.core.facts.host_table import HostTable
from trayagent.core.facts.state import State
from trayagent.core.policy.advance import advance
from trayagent.core.policy.settled import Basis


def overlooked(state: State, now: float) -> list[object]:
    """Return what the hosts would do if they were all advanced now: actions, earlier timers, changed facts."""
    if not state.started or not isinstance(state.hosts, HostTable):
        return []
    context = Context(state, now)
    context.hosts.settled.clear()
    for name in context.names:
        advance(context, name)
    found: list[object] = [action for action in context.actions if _is_new(action, state.hosts)]
    found += [name for name, host in state.hosts.items() if context.get(name) is not host]
    return found


def _is_new(action: Action, hosts: HostTable) -> bool:
    """Report whether an action is more than a request that was made already, or a timer that is set already."""
    if not isinstance(action, SetTimer):
        return not isinstance(action, REQUESTS)
    basis: Basis | None = hosts.settled.get(action.name)
    if action.at is None or action.at == float("inf"):
        return False
    return basis is None or basis.timer_at is None or basis.timer_at > action.at
