"""Prints the agent's events as they arrive, each with its time in milliseconds after the change of network."""

from __future__ import annotations

import time
from typing import Any

from trayagent.sandbox.agent_events import Events
from trayagent.sandbox.demo import event_words
from trayagent.sandbox.demo.screen import Screen

# Repaint the screen after this time without an event. The times on the screen do not depend on it.
FRAME_S = 0.04


class EventPrinter:
    """Reads the agent's events and shows a row for each; `seen` holds their names.

    `t0` is the monotonic time from which rows count. With `named`, each row names its host, and repeated rows
    are left out.
    """

    def __init__(self, events: Events, screen: Screen, t0: float, *, named: bool = False) -> None:
        self._events = events
        self._screen = screen
        self._read = len(events.seen)
        self._network: dict[str, Any] | None = None
        self._t0 = t0
        self._wall_offset_s = time.time() - time.monotonic()
        self._named = named
        self._rows_shown: set[str] = set()
        self.seen: set[str] = set()

    def print_new(self) -> None:
        """Print the events that arrived since the last call.

        Unplugging a cable and plugging in another one causes several changes within a few milliseconds. Of
        such a series, only the last change is printed.
        """
        every = self._events.drain(FRAME_S)
        fresh, self._read = every[self._read :], len(every)
        for event in fresh:
            self.seen.add(event["event"])
            if event["event"] != "network-changed":
                self.network()
                self._row(event)
            elif event_words.of_change(event):
                self._network = event

    def network(self, note: str = "", label: str = "") -> None:
        """Print the last change of the network, if it has not been printed yet."""
        event, self._network = self._network, None
        if event:
            self._row(event, note, label)

    def first_byte(self, at: float) -> None:
        """Print the time at which the forward answered, after all events that arrived before."""
        self.print_new()
        self.network()
        self._screen.row(
            event_words.milliseconds(self._t0, at), "first byte through the forward", "bold green"
        )

    def _row(self, event: dict[str, Any], note: str = "", label: str = "") -> None:
        label = label or event_words.milliseconds(self._t0, event_words.moment(event, self._wall_offset_s))
        text = event_words.of_event(event) + note
        if self._named and event.get("host"):
            text = f"{event['host']}: {text}"
            if text in self._rows_shown:
                return
            self._rows_shown.add(text)
        self._screen.row(label, text, event_words.STYLES.get(event["event"], ""))
