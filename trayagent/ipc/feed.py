"""What waits for a client that reads more slowly than things happen; bounded, and no I/O."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from trayagent.ipc import messages

BACKLOG_ITEMS = 1024
"""Events: some minutes of a flapping network for a hundred hosts, about 300 KB."""


class Overflow(Exception):  # noqa: N818  # it is no error of the program, it is what happens to slow readers
    """The reader is too slow for a stream of which nothing may be left out."""


class Feed(Protocol):
    """Items on their way to one client."""

    def offer(self, item: dict[str, Any]) -> None:
        """Add an item; raises Overflow where no more may wait."""

    def take(self) -> bytes | None:
        """Return the next line to write, None when nothing waits."""


class Newest:
    """Of views only the newest matters: a slow watcher skips the others."""

    def __init__(self) -> None:
        self._item: dict[str, Any] | None = None

    def offer(self, item: dict[str, Any]) -> None:
        """Replace what waits."""
        self._item = item

    def take(self) -> bytes | None:
        """Return the newest view's line, once."""
        item, self._item = self._item, None
        return None if item is None else messages.item(item)


class Every:
    """Of events each one matters: a reader too slow for that is told, not deceived."""

    def __init__(self) -> None:
        self._items: deque[dict[str, Any]] = deque()

    def offer(self, item: dict[str, Any]) -> None:
        """Append the item; raises Overflow, and lets go of what waited."""
        if len(self._items) >= BACKLOG_ITEMS:
            self._items.clear()
            raise Overflow
        self._items.append(item)

    def take(self) -> bytes | None:
        """Return the oldest event's line."""
        return messages.item(self._items.popleft()) if self._items else None


def feed_for(op: str) -> Feed:
    """Return the feed that suits a streaming operation."""
    return Newest() if op == "watch" else Every()
