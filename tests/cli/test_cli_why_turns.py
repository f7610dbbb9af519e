"""A host that waits for its turn among many hosts gets one line in `why`, not one for each decision."""

from __future__ import annotations

from typing import Any

from trayagent.cli.why_turns import combined

BUSY = {"server": "web:22", "busy": "yes", "at_once": "6"}


def decision(second: int, verdict: str, **pairs: str) -> dict[str, Any]:
    """Return a decision of the agent at this second."""
    at = f"2026-11-30T15:00:{second:02}.000+00:00"
    return {"at": at, "row": 4, "verdict": verdict, "evidence": "", "pairs": [list(p) for p in pairs.items()]}


def test_a_wait_for_a_turn_is_one_line_with_its_duration() -> None:
    """Many decisions of one wait become one, from the first to the login; other decisions stay as they are."""
    dial = decision(18, "dial", purpose="control")
    begun = decision(3, "control", address="gone")
    waits = [decision(4, "wait", account="busy"), decision(9, "control"), decision(10, "wait", **BUSY)]
    found = combined([begun, *waits, dial])
    assert [one["verdict"] for one in found] == ["control", "wait", "dial"]
    assert (found[0], found[2]) == (begun, dial)
    assert found[1]["at"] == waits[0]["at"]
    assert found[1]["sentence"] == "waited 14 s for its turn: at most 6 logins at a time"


def test_a_wait_that_goes_on_has_no_duration() -> None:
    """While the host still waits, the line says for what."""
    (found,) = combined([decision(4, "wait", **BUSY), decision(5, "control"), decision(5, "wait", **BUSY)])
    assert found["sentence"] == "waiting for its turn: at most 6 logins at a time"
    (found,) = combined([decision(4, "wait", account="busy")])
    assert found["sentence"] == "waiting: another login to its account is in progress"


def test_other_waits_stay_as_they_are() -> None:
    """A wait for an address, for a jump host, or of an older agent without pairs is not a wait for a turn."""
    other = [decision(1, "wait", address="gone"), decision(2, "wait", jump="gate", busy="yes")]
    old = {**decision(3, "wait"), "pairs": None}
    assert combined([*other, old]) == [*other, old]


def test_a_login_that_is_due_is_one_line_until_it_starts() -> None:
    """While `ssh -G` runs, each event decides again that the login is due. Only the first decision is shown."""
    due = [decision(3, "control", address="gone", gone_ms=str(after)) for after in (21, 70, 95)]
    dial = decision(4, "dial", address="gone", gone_ms="120", purpose="control")
    running = [decision(second, "wait", control="running", silent_ms=str(second)) for second in (5, 6)]
    assert combined([*due, dial, *running]) == [due[0], dial, running[0]]
    lost_again = [decision(7, "control", address="gone"), decision(8, "control", probe="silent")]
    assert combined(lost_again) == lost_again
    waits = [decision(4, "wait", **BUSY), *due, decision(6, "wait", **BUSY), dial]
    assert [one["verdict"] for one in combined(waits)] == ["wait", "dial"]
