"""Queue items for a client that reads more slowly than they arrive; bounded, no I/O."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from trayagent.ipc import messages

BACKLOG_ITEMS = 1024
"""Events: some minutes of a flapping network for a hundred hosts, about 300 KB."""


class Overflow(Exception):  # noqa: N818  # not a program error: it happens to slow readers
    """The reader is too slow for a stream that must be complete."""


class Feed(Protocol):
    """Items on their way to one client."""

    def offer(self, item: dict[str, Any]) -> None:
        """Add an item; raises Overflow if the queue is full."""

    def take(self) -> bytes | None:
        """Return the next line to write, None if nothing waits."""


class Newest:
    """Keeps the newest view only; a slow watcher skips the others."""

    def __init__(self) -> None:
        self._item: dict[str, Any] | None = None

    def offer(self, item: dict[str, Any]) -> None:
        """Replace the waiting view."""
        self._item = item

    def take(self) -> bytes | None:
        """Return the newest view's line, once."""
        item, self._item = self._item, None
        return None if item is None else messages.item(item)


class Every:
    """Keeps every event. A reader that is too slow gets an error, never a stream with a gap."""

    def __init__(self) -> None:
        self._items: deque[dict[str, Any]] = deque()

    def offer(self, item: dict[str, Any]) -> None:
        """Append the item; if the queue is full, drop all items and raise Overflow."""
        if len(self._items) >= BACKLOG_ITEMS:
            self._items.clear()
            raise Overflow
        self._items.append(item)

    def take(self) -> bytes | None:
        """Return the oldest event's line."""
        return messages.item(self._items.popleft()) if self._items else None


def feed_for(op: str) -> Feed:
    """Return the feed for a streaming operation."""
    return Newest() if op == "watch" else Every()
