"""Bounded queues of items for a client that reads more slowly than items arrive. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from trayagent.ipc import messages

BACKLOG_ITEMS = 1024
"""Enough events for some minutes of a flapping network with a hundred hosts; about 300 KB."""


class Overflow(Exception):  # noqa: N818  # not an error of the program, but of a slow reader
    """The client reads too slowly for a stream that must be complete."""


class Feed(Protocol):
    """The queue of items for one client."""

    def offer(self, item: dict[str, Any]) -> None:
        """Add an item; raises Overflow if the queue is full."""

    def take(self) -> bytes | None:
        """Return the next line to write, None if nothing waits."""


class Newest:
    """Keeps only the newest view. A slow watcher does not get the views in between."""

    def __init__(self) -> None:
        self._item: dict[str, Any] | None = None

    def offer(self, item: dict[str, Any]) -> None:
        """Replace the waiting view."""
        self._item = item

    def take(self) -> bytes | None:
        """Return the line with the newest view, None if it was taken already."""
        item, self._item = self._item, None
        return None if item is None else messages.item(item)


class Every:
    """Keeps every event. A client that reads too slowly gets an error, never a stream with a gap."""

    def __init__(self) -> None:
        self._items: deque[dict[str, Any]] = deque()

    def offer(self, item: dict[str, Any]) -> None:
        """Append the item; if the queue is full, drop all items and raise Overflow."""
        if len(self._items) >= BACKLOG_ITEMS:
            self._items.clear()
            raise Overflow
        self._items.append(item)

    def take(self) -> bytes | None:
        """Return the line with the oldest event, None if there is none."""
        return messages.item(self._items.popleft()) if self._items else None


def feed_for(op: str) -> Feed:
    """Return the feed for a streaming operation."""
    return Newest() if op == "watch" else Every()
