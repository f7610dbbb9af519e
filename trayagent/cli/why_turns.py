"""Combine the decisions of a host that waits for its turn to log in; pure.

When many hosts wait for one server, each may be decided on again and again. One line shows the whole wait.
"""

from __future__ import annotations

from datetime import datetime

from trayagent.presentation.text import clean
from trayagent.presentation.times import lasted
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Decision = dict[str, Any]


def combined(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions, with one for each wait for a turn, from its first decision to its last.

    That one has the time of the first decision and the evidence of the last. Its `sentence` says how long it took. Of
    equal decisions in a row, only the first is returned: a login that waits for `ssh -G` is decided on at each event.
    """
    found: list[Decision] = []
    decisions = [
        one for one, before in zip(decisions, [None, *decisions], strict=False) if not _again(one, before)
    ]
    at = 0
    while at < len(decisions):
        end = _end_of_turn(decisions, at)
        if end == at:
            found.append(decisions[at])
            at += 1
            continue
        ended = decisions[end]["at"] if end < len(decisions) else None
        first, last = decisions[at], decisions[end - 1]
        found.append({**last, "at": first["at"], "sentence": _sentence(last, first["at"], ended)})
        at = end
    return found


def _end_of_turn(decisions: Sequence[Decision], begin: int) -> int:
    """Return the index after the wait that begins here, or `begin` if none does."""
    end = begin
    while end < len(decisions) and _waits(decisions[end]):
        end += 1
        # A host with an old connection decides each time that a new login is due, and then that it must wait.
        if end + 1 < len(decisions) and decisions[end]["verdict"] == "control" and _waits(decisions[end + 1]):
            end += 1
    return end


def _again(decision: Decision, before: Decision | None) -> bool:
    """Report whether a decision repeats the one before it, apart from the time that has passed."""
    if before is None or decision["verdict"] not in {"control", "wait"} or _waits(decision):
        return False
    return _step(decision) == _step(before) and decision.get("pairs") is not None


def _step(decision: Decision) -> tuple[int, str, list[list[str]]]:
    pairs = [pair for pair in decision.get("pairs") or () if not pair[0].endswith("_ms")]
    return decision["row"], decision["verdict"], pairs


def _waits(decision: Decision) -> bool:
    pairs = dict(decision.get("pairs") or ())
    turn = "busy" in pairs or pairs.get("account") == "busy"
    return decision["verdict"] == "wait" and turn and "jump" not in pairs


def _sentence(decision: Decision, begun: str, ended: str | None) -> str:
    pairs = dict(decision["pairs"])
    count = clean(pairs["at_once"]) if "at_once" in pairs else None
    if ended is None:
        if count is not None:
            return _("waiting for its turn: at most {count} logins at a time").format(count=count)
        if "busy" in pairs:
            return _("waiting: the limit of logins to this server is reached")
        return _("waiting: another login to its account is in progress")
    took = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
    time = lasted(max(took, 0.0))
    if count is not None:
        return _("waited {time} for its turn: at most {count} logins at a time").format(
            time=time, count=count
        )
    if "busy" in pairs:
        return _("waited {time} for its turn: the limit of logins to this server was reached").format(
            time=time
        )
    return _("waited {time} for its turn: another login to its account was in progress").format(time=time)
