"""The virtual time of the simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do it then, or now where that is past."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it a while later."""
        self.at(self.now + seconds, do)

    def run_until(self, when: float) -> None:
        """Let everything happen that is due until then."""
        while self._heap and self._heap[0][0] <= when:
            self.now, _, do = heapq.heappop(self._heap)
            do()
        self.now = max(self.now, when)
