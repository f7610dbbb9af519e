"""Locks that keep two parts of the agent from swapping the sockets at one host's control path at the same time."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class PathLocks:
    """One lock for each host. A lock without a holder and without waiters is forgotten."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """Return the lock of a host. Keep a reference to it while it is in use."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock
