"""The decision log keeps one line for each step of a host."""

from __future__ import annotations

from trayagent.agent.events.decision_log import DecisionLog
from trayagent.core.decision_context import Why
from trayagent.core.facts.evidence import Evidence


def why(row: int, verdict: str, name: str = "web") -> Why:
    """Return a decision."""
    return Why(name, row, verdict, Evidence.of(step=verdict))


def verdicts(kept: DecisionLog, name: str = "web") -> list[str]:
    """Return the verdicts that the log kept about a host."""
    return [one["verdict"] for one in kept.decisions(name)]


def test_a_wait_for_what_has_just_begun_is_no_line_of_its_own() -> None:
    """A host that dials or probes waits for the result. Only another host's wait, or a later one, gets a line."""
    kept = DecisionLog()
    kept.add((why(4, "control"), why(4, "dial"), why(4, "wait"), why(5, "wait", "mail")))
    assert (verdicts(kept), verdicts(kept, "mail")) == (["control", "dial"], ["wait"])
    kept.add((why(4, "wait"),))
    assert verdicts(kept) == ["control", "dial", "wait"]


def test_a_repeated_wait_is_one_line() -> None:
    """A wait in the same row as before is not kept again."""
    kept = DecisionLog()
    for verdict in ("wait", "wait", "offline", "offline", "wait"):
        kept.add((why(2, verdict),))
    assert verdicts(kept) == ["wait", "offline", "wait"]
