"""The loop: events are queued, decided on one after the other, and what was decided is carried out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from trayagent.core.context import Why
from trayagent.core.decide import decide
from trayagent.core.facts.actions import Action
from trayagent.core.facts.events import Event, NetworkRead
from trayagent.core.facts.network import Lookup, Snapshot, Touched
from trayagent.core.facts.state import State
from trayagent.core.routes import lookups

log = logging.getLogger(__name__)


class Effects(Protocol):
    """Carries actions out, and hears of every decision."""

    def carry_out(self, action: Action) -> None:
        """Do it, or start doing it; what comes of it is posted as an event."""

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Take note of the reasons of one turn."""

    def settled(self) -> None:
        """Everything that was queued has been decided."""


class Shell:
    """Owns the state. `read` gives the network as it is now."""

    def __init__(self, read: Callable[[Iterable[Lookup]], Snapshot]) -> None:
        self.state = State()
        self._read = read
        self._effects: Effects | None = None
        self._queue: deque[Event] = deque()
        self._touched: Touched | None = None
        self._scheduled = False

    def start(self, effects: Effects) -> None:
        """Begin to carry out what is decided."""
        self._effects = effects
        if self._queue or self._touched is not None:
            self._schedule()

    def post(self, event: Event) -> None:
        """Queue an event; it is decided on in this turn of the loop, after those before it."""
        self._queue.append(event)
        self._schedule()

    def touch(self, touched: Touched) -> None:
        """Note a hint that the network changed: it is read once, after all hints that are there."""
        self._touched = touched if self._touched is None else self._touched | touched
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._effects is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        effects = self._effects
        if effects is None:
            return
        try:
            while self._queue or self._touched is not None:
                self._decide(self._next(), effects)
                self._read_what_is_missing()
        finally:
            self._scheduled = False
        effects.settled()

    def _next(self) -> Event:
        if self._touched is not None:
            touched, self._touched = self._touched, None
            return NetworkRead(time.monotonic(), self._read(lookups(self.state.hosts.values())), touched)
        return self._queue.popleft()

    def _decide(self, event: Event, effects: Effects) -> None:
        decision = decide(self.state, event)
        self.state = decision.state
        if decision.whys:
            effects.decided(decision.whys)
        for action in decision.actions:
            effects.carry_out(action)

    def _read_what_is_missing(self) -> None:
        """A new master or address asks a question that the last snapshot does not answer."""
        if not lookups(self.state.hosts.values()) <= self.state.network.matched.keys():
            self._touched = self._touched or Touched()
