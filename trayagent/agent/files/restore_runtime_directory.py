"""Restores the agent's lock and socket when a program removes them, or the whole runtime directory.

Programs that clean up old files do that, and `rm -r`. Without the lock, a second agent could start beside this one.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from trayagent.config.runtime_directory import make_private
from trayagent.errors import TrayagentError
from trayagent.ipc.errors import AlreadyRunning
from trayagent.ipc.one_agent_lock import Lock

log = logging.getLogger(__name__)

_QUIET_S = 0.05  # `rm -r` removes the files first; a new file in between would make it fail
_AGAIN_S, _AGAIN_MOST_S = 1.0, 600.0  # the waits while the directory cannot be made


class Socket(Protocol):
    """The server of the agent's socket."""

    @property
    def in_place(self) -> bool:
        """Whether the socket is at its path."""

    async def listen_again(self) -> None:
        """Listen on a new socket at the path. Raises TrayagentError."""


class Owner(Protocol):
    """The agent."""

    def watch_runtime_directory(self) -> None:
        """Watch the new directory instead of the removed one."""

    def stop(self) -> None:
        """End soon, because another agent has started."""


class RuntimeDirectory:
    """Keeps the lock and the socket in the runtime directory."""

    def __init__(self, path: Path, lock: Lock, socket: Socket, *, owner: Owner) -> None:
        self._path = path
        self._lock = lock
        self._socket = socket
        self._owner = owner
        self._due: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._again_s = _AGAIN_S

    def close(self) -> None:
        """Restore nothing any more."""
        if self._due is not None:
            self._due.cancel()
        if self._task is not None:
            self._task.cancel()

    def file_changed(self, path: Path) -> None:
        """Check soon whether lock and socket are still there, if the file was one of them or the directory."""
        if path == self._path or path.suffix in {".sock", ".lock"}:
            self._check_in(_QUIET_S)

    def _check_in(self, wait_s: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(wait_s, self._check)

    def _check(self) -> None:
        if self._lock.in_place and self._socket.in_place:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._restore(), name="restore the socket")

    async def _restore(self) -> None:
        try:
            made = not self._path.is_dir()
            make_private(str(self._path))
            if not self._lock.in_place:
                self._lock.acquire_again()
            if made:
                self._owner.watch_runtime_directory()
            if not self._socket.in_place:
                await self._socket.listen_again()
        except AlreadyRunning as error:
            log.warning("%s was removed, and another agent (pid %s) has started", self._path, error.pid)
            self._owner.stop()
        except (OSError, TrayagentError) as error:
            if self._again_s == _AGAIN_S:
                log.warning("%s was removed and cannot be made again: %s", self._path, error)
            self._check_in(self._again_s)
            self._again_s = min(2 * self._again_s, _AGAIN_MOST_S)
        else:
            self._again_s = _AGAIN_S
            log.warning("%s was removed; lock and socket are there again", self._path)
            self._check_in(_QUIET_S)  # it may be removed at this moment, before the new watch began
