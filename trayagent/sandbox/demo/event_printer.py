"""Shows what the agent reports, as it reports it, in milliseconds after the change."""

from __future__ import annotations

import time
from typing import Any

from trayagent.sandbox.agent import Events
from trayagent.sandbox.demo import event_words
from trayagent.sandbox.demo.screen import Screen

# How long the stream must be quiet before the picture is painted again. The shown times do not depend on it.
FRAME_S = 0.04


class EventPrinter:
    """Reads the agent's events and shows a row for each; `seen` holds their names.

    `t0` is the monotonic start of the count. With `named`, a row says which host it is about, and repeated rows are
    left out.
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
        """Show what came since the last call.

        Unplugging a cable and plugging in another one causes several changes within a few milliseconds. Only the
        last one of a series is shown.
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
        """Show the last change of the network, if it has not been shown yet."""
        event, self._network = self._network, None
        if event:
            self._row(event, note, label)

    def first_byte(self, at: float) -> None:
        """Show when the forward answered, after everything that came before."""
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
