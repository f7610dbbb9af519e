"""Chooses what makes new masters outlive the agent: systemd scopes on Linux, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Protocol


class Keeper(Protocol):
    """Moves processes into their own control groups. If that is impossible, each call returns without an error."""

    @property
    def ready(self) -> bool:
        """Whether a new process should wait for its scope."""

    async def open(self) -> None:
        """Connect, and move masters that an earlier agent left in our control group. Never raises."""

    async def take(self, host: str, pid: int) -> bool:
        """Move a new master's process, and report whether that worked. Returns within 50 ms."""

    async def take_relay(self, pid: int) -> bool:
        """Move the near relay's process, and report whether that worked. Returns within a second."""

    async def close(self) -> None:
        """Disconnect."""


def keeper() -> Keeper | None:
    """Return the keeper for this system, or None."""
    if sys.platform == "darwin":
        return None
    from trayagent.desktop.scopes.linux_scopes import Scopes

    return Scopes()
