"""What the agent and a client exchange about one inner login at the client's terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct


class Command(Struct, frozen=True):
    """The command line of an ssh, its log file, and variables to set in its environment."""

    words: Sequence[str]
    log: str
    environment: Mapping[str, str]


class Terminal:
    """A terminal at which a client runs one command. `command` is set first, then `status`, ssh's exit status."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.command: asyncio.Future[Command] = loop.create_future()
        self.status: asyncio.Future[int] = loop.create_future()

    def report(self, status: int) -> None:
        """Note ssh's exit status, or -1 because the client ended. Only the first report counts."""
        if not self.status.done():
            self.status.set_result(status)
