"""The tray on a Mac: starts the program `macos_icon` with the first look, and again after it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence

from trayagent.desktop.tray.look import Protocols
from trayagent.desktop.tray.separate_tray import SeparateTray
from trayagent.desktop.tray.update_rate import INTERVAL_S
from trayagent.own_module import own_module

PROGRAM = tuple(own_module("trayagent.desktop.tray.macos_icon"))
RETRY_S = 60.0
"""Seconds. If the program ended unexpectedly, the next look starts it again, but not more often than this."""
_END_S = 2.0


class MenuBarTray(SeparateTray):
    """A TrayBackend. `activated` is called with the key of the item that the user chose."""

    def __init__(
        self,
        activated: Callable[[Hashable], None],
        *,
        program: Sequence[str] = PROGRAM,
        interval_s: float = INTERVAL_S,
        retry_s: float = RETRY_S,
    ) -> None:
        super().__init__(activated, program=program, called="the menu bar's program", interval_s=interval_s)
        self._retry_s = retry_s
        self._task: asyncio.Task[None] | None = None
        self._started_at = float("-inf")

    @property
    def protocol(self) -> Protocols | None:
        """The protocol by which the icon is shown; None if there is no icon."""
        return "menu bar" if self.problem is None else None

    async def ended(self) -> None:
        """Wait until the icon's program has ended after `close`. Kill it if it does not end in time."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_END_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _apply(self) -> None:
        if self._wanted is None:
            return
        if self._task is None or self._task.done():
            now = asyncio.get_running_loop().time()
            if now - self._started_at >= self._retry_s:
                self._started_at = now
                self._task = asyncio.get_running_loop().create_task(self.run(), name="menu bar")
            return
        self._send()
