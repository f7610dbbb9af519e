"""Starts the near relay's process, or finds the one that an earlier agent started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import time
from pathlib import Path
from typing import Protocol

from trayagent.agent.roaming.near_relay_connection import (
    NearRelayConnection,
    NearRelayError,
    NearRelayListener,
)
from trayagent.roaming.near_client import near_command

log = logging.getLogger(__name__)

START_S = 20.0  # Python takes 50 ms to start, but seconds on a very busy machine
_POLL_S = 0.004
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "HOME")


class RelayShelter(Protocol):
    """Gives the near relay a control group of its own, so that the relay outlives the agent."""

    async def take_relay(self, pid: int) -> bool:
        """Move the process to its control group and report whether that worked. Never raises."""


class NearRelayProcess:
    """The near relay of this user. All hosts share it. `connection` is the agent's connection to it, or None."""

    def __init__(self, runtime_dir: Path, shelter: RelayShelter | None) -> None:
        self._path = runtime_dir / "near-relay.sock"
        self._log = runtime_dir / "near-relay.log"
        self._shelter = shelter
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = asyncio.Lock()
        self.connection: NearRelayConnection | None = None

    async def find(self, listener: NearRelayListener) -> NearRelayConnection | None:
        """Connect to a near relay that carries connections; return None if there is none.

        End a near relay that carries none, because its program may be outdated. Raise NearRelayError.
        """
        async with self._starting:
            if self.connection is not None:
                return self.connection
            connection = await NearRelayConnection.connect(self._path, listener)
            if connection is None:
                return None
            try:
                idle = not await connection.sessions() and await connection.quit_if_idle()
            except BaseException:
                connection.close()
                raise
            if idle:
                connection.close()
                return None
            self.connection = connection
            return connection

    async def start(self, listener: NearRelayListener) -> NearRelayConnection:
        """Return the connection to the near relay, and start the relay if there is none.

        Raise NearRelayError, OSError.
        """
        async with self._starting:
            if self.connection is None:
                self.connection = await self._started(listener)
            return self.connection

    async def end(self, token_id: str) -> None:
        """End a connection in the near relay, if it is there."""
        if self.connection is not None:
            with contextlib.suppress(NearRelayError):
                await self.connection.ask("end", id=token_id)

    async def close(self) -> None:
        """Disconnect from the near relay. End the relay if it carries no connections."""
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.quit_if_idle()
            connection.close()

    async def _started(self, listener: NearRelayListener) -> NearRelayConnection:
        limit = time.monotonic() + START_S
        while True:
            connection = await NearRelayConnection.connect(self._path, listener)
            if connection is not None:
                return connection
            if self._child is None or self._child.poll() is not None:
                self._child = self._spawn()
                log.info("the near relay is pid %d", self._child.pid)
                if self._shelter is not None:
                    await self._shelter.take_relay(self._child.pid)
            if time.monotonic() > limit:
                raise NearRelayError("The near relay did not start", code="not-started")
            await asyncio.sleep(_POLL_S)

    def running(self) -> int | None:
        """Return the pid of the near relay that this agent started, None if there is none or if it ended."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        return self._child.pid if self._child is not None else None

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the relay in a Unix session of its own, without our descriptors and with few of our variables."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._log, flags, 0o600)
        try:
            return subprocess.Popen(
                near_command(str(self._path)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=fd,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(fd)
