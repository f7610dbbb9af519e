"""Chooses what keeps new masters out of reach of the agent's end: systemd's scopes on Linux, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Protocol


class Keeper(Protocol):
    """Moves processes into control groups of their own; each call goes on without where that is impossible."""

    @property
    def ready(self) -> bool:
        """Whether it is worth while to let a new process wait for it."""

    async def open(self) -> None:
        """Get ready, and move the masters there that an earlier agent left beside us; never raises."""

    async def take(self, host: str, pid: int) -> bool:
        """Put a new master's process there and report whether it is; returns within 50 ms."""

    async def close(self) -> None:
        """End."""


def keeper() -> Keeper | None:
    """Return what serves on this system."""
    if sys.platform == "darwin":
        return None
    from trayagent.desktop.scopes.linux_scopes import Scopes

    return Scopes()
