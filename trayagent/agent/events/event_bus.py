"""The event bus: passes each event to the log, the history, the clients and the event's hook."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from trayagent.agent import clock_conversion
from trayagent.agent.events.run_hooks import Hooks
from trayagent.core.facts.actions import Publish
from trayagent.history.record_events import History

log = logging.getLogger(__name__)


_DECIDED = {"connected", "connecting", "master-stale"}
"""Events that repeat a decision. The log already has the decision, with the same evidence."""


class EventBus:
    """Publishes events, as docs/scripting.md describes them."""

    def __init__(self, history: History, hooks: Hooks) -> None:
        self._history = history
        self._hooks = hooks
        self._listeners: list[Callable[[dict[str, Any]], None]] = []

    def publish(self, published: Publish) -> None:
        """Log an event, record it in the history, notify the listeners, and run the event's hook."""
        event = event_object(published, clock_conversion.now_text())
        if published.event not in _DECIDED:
            log.info("%s %s %s", published.event, published.name or "-", event["reason"])
        self._history.record(event)
        for listener in list(self._listeners):
            listener(event)
        self._hooks.run(event)

    def subscribe(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call the listener for each event from now on; return a function that stops this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


def event_object(published: Publish, at: str) -> dict[str, Any]:
    """Return the JSON object of an event that happened `at` (RFC 3339).

    `evidence`, the pairs as text, is included only if the reason is a different text.
    """
    evidence = published.evidence
    event = {
        "at": at,
        "event": published.event,
        "host": published.name or None,
        "reason": published.reason or str(evidence),
        **{k: v for k, v in published.details.items() if v is not None},
    }
    if evidence and published.reason:
        event["evidence"] = str(evidence)
    if evidence:
        event["pairs"] = [list(pair) for pair in evidence.pairs]
    return event
