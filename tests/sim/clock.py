"""The virtual time of the simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """The virtual time, and the calls that are scheduled in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Schedule a call at a time, or now if that time has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Schedule a call after this many seconds."""
        self.at(self.now + seconds, do)

    def run_until(self, when: float) -> None:
        """Advance the time, and make all calls that are due by then."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= when:
            self.now, _, do = pop(heap)
            do()
        self.now = max(self.now, when)
