"""Chooses how masters outlive the agent: in systemd scopes on Linux, without further measures elsewhere."""

from __future__ import annotations

import sys
from typing import Protocol


class Keeper(Protocol):
    """Moves processes out of the agent's control group. If that is impossible, each call returns without an error."""

    @property
    def ready(self) -> bool:
        """Whether a new process should wait for its scope."""

    async def open(self) -> None:
        """Connect. Then move masters that an earlier agent left in this agent's control group. Never raises."""

    async def take(self, host: str, pid: int) -> bool:
        """Move a new master's process into its own scope, and return whether that worked. Returns within 50 ms."""

    async def take_relay(self, pid: int) -> bool:
        """Move the near relay's process into its own scope, and return whether that worked. Returns within a second."""

    async def close(self) -> None:
        """Disconnect."""


def keeper() -> Keeper | None:
    """Return the keeper for this platform, or None if the platform has no scopes."""
    if sys.platform == "darwin":
        return None
    from trayagent.desktop.scopes.linux_scopes import Scopes

    return Scopes()
