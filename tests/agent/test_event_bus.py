"""The JSON objects of events."""

from __future__ import annotations

from trayagent.agent.events.event_bus import event_object
from trayagent.core.facts.actions import Publish
from trayagent.core.facts.evidence import Evidence

AT = "2026-01-01T08:00:00Z"


def test_evidence_is_the_reason_and_the_pairs_of_an_event() -> None:
    """An event has the text of the log as `reason`, and the pairs from which the text was made."""
    event = event_object(Publish("web", "disconnected", Evidence.of(user="disconnect"), "", {"pid": 7}), AT)
    assert event == {
        "at": AT,
        "event": "disconnected",
        "host": "web",
        "reason": "user=disconnect",
        "pid": 7,
        "pairs": [["user", "disconnect"]],
    }


def test_a_reason_in_words_has_its_evidence_beside_it() -> None:
    """An event may have both a reason in words and its evidence."""
    event = event_object(Publish("web", "master-killed", Evidence.of(route="none"), "keep_while_offline"), AT)
    assert (event["reason"], event["evidence"]) == ("keep_while_offline", "route=none")


def test_an_event_without_evidence_has_no_pairs() -> None:
    """An event without evidence has no pairs, and no details without a value."""
    event = event_object(Publish("", "resumed", reason="wake", details={"asleep_s": None}), AT)
    assert event == {"at": AT, "event": "resumed", "host": None, "reason": "wake"}
