"""Limits the rate of updates: an update runs at once, but at most one in each interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# A panel draws each update, and a panel that got 200 updates a second crashed. Four a second look immediate to a user.
INTERVAL_S = 0.25


class Pace:
    """Runs `action` soon after each `request`, never twice within the interval. No request, no wake-up."""

    def __init__(self, action: Callable[[], None], interval_s: float = INTERVAL_S) -> None:
        self._action, self._interval_s = action, interval_s
        self._last_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def request(self) -> None:
        """Run the action now if the interval has passed, otherwise at its end."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._last_s + self._interval_s
        if loop.time() >= due:
            self.now()
        else:
            self._timer = loop.call_at(due, self.now)

    def now(self) -> None:
        """Run the action at once, and cancel the run that is scheduled."""
        self.stop()
        self._last_s = asyncio.get_running_loop().time()
        self._action()

    def stop(self) -> None:
        """Cancel the run that is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
