"""Named asyncio tasks. Their owner logs unexpected failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """Keeps the running tasks. An unexpected exception is logged and never lost."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._count = 0

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the coroutine as a task of this name. If such a task is running, add a number to the name."""
        if name in self._running:
            self._count += 1
            name = f"{name}#{self._count}"
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[name] = task
        task.add_done_callback(self._ended)
        return task

    def running(self, name: str) -> bool:
        """Report whether a task of that name is running."""
        return name in self._running

    def cancel(self, name: str) -> None:
        """Cancel the running task of that name, if any."""
        if name in self._running:
            self._running[name].cancel()

    async def finished(self, names: Iterable[str], *, within_s: float | None = None) -> None:
        """Wait until no task with these names is running, but at most `within_s` seconds if given.

        Cancel no task, even if the time is over.
        """
        running = [self._running[n] for n in names if n in self._running]
        if running:
            await asyncio.wait(running, timeout=within_s)

    async def close(self) -> None:
        """Cancel all tasks and wait until each has ended."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task.get_name(), None)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())
