"""What is done for a host without a master: wait for a way, or connect; pure."""

from __future__ import annotations

from trayagent.core.attempts import Step, give_up_attempt, put_in_place, start, wanted
from trayagent.core.gate import Gate
from trayagent.core.hosts import Attempt, Host
from trayagent.core.texts import gate_problem, person_needed
from trayagent.core.turn import Turn


def step(turn: Turn, host: Host, way: Gate) -> Step:
    """Bring the host up if it is wanted up and may be connected here."""
    if not wanted(host):
        give_up_attempt(turn, host)
        return False, None
    if not way.open:
        host = give_up_attempt(turn, host)
        turn.put(host, problem=gate_problem(host, way), asked=False)
        return False, None
    if host.attempt is not None:
        return _await(turn, host, host.attempt, way)
    if host.wish.interactive and not host.asked:
        turn.put(host, problem=person_needed(host))
        return False, None
    if host.resolved is None:
        return False, None  # `ssh -G` has not answered yet
    due = host.retry.at
    if not host.asked and (due is None or due > turn.now):
        return False, due
    return start(turn, host, way, "user" if host.asked else "connect", 1, "master=none")


def _await(turn: Turn, host: Host, attempt: Attempt, way: Gate) -> Step:
    """Leave an attempt alone as long as its own address still holds."""
    if attempt.unwanted:
        return False, None
    if attempt.ready is not None:
        return put_in_place(turn, host, attempt, 1, "master=none control=ready")
    if attempt.refused is not None:
        give_up_attempt(turn, host)
        return True, None
    source = attempt.source
    moved = way.way is not None and source != way.way.source
    if moved and (source is None or not turn.state.network.has_address(source)):
        give_up_attempt(turn, host)
        return True, None
    return False, None
