"""Serve the IPC socket for the agent: listen, admit clients, and let no client harm the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.ipc.client_connection import Connection, Handler

__all__ = ["Handler", "Server"]

MOST_CLIENTS = 192
"""Enough for the watchers and a burst of scripts. Each client needs at most some hundred KB."""
MOST_WATCHERS = 128
"""A forgotten `status --watch` must not lock out other commands, so 64 connections are for requests."""
BACKLOG = 512
"""The queue is long because a non-blocking connect to a full one fails immediately (EAGAIN, unix(7))."""
FINISH_S = 0.2
"""How long a request in progress may still take when the agent ends. The agent's end may take 1 s in total."""


class Server:
    """Serves `handler` on a Unix socket at `path`.

    The socket's directory must exist and be private. The caller must hold the lock of this directory, so a
    socket that exists already is stale.
    """

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        most_clients: int = MOST_CLIENTS,
        most_watchers: int = MOST_WATCHERS,
    ) -> None:
        self.handler = handler
        self._path = path
        self._most_clients = most_clients
        self._most_watchers = most_watchers
        self._connections: dict[Connection, None] = {}  # least recently used first
        self._server: asyncio.Server | None = None
        self._inode: tuple[int, int] | None = None
        self._deserted = asyncio.Event()

    async def start(self) -> None:
        """Start to listen. Raises TrayagentError if that is impossible."""
        sock = self._bound()
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
        except BaseException:
            sock.close()
            raise

    @property
    def in_place(self) -> bool:
        """Whether the socket on which this server listens is at its path."""
        try:
            found = os.lstat(self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    async def listen_again(self) -> None:
        """Listen on a new socket, because the file of the old one was removed. Connections continue.

        Raises TrayagentError.
        """
        removed = self._server
        await self.start()
        if removed is not None:
            removed.close()

    async def close(self) -> None:
        """Stop listening, wait briefly for requests in progress, and close all connections. Takes at most 0.5 s."""
        if self._server is None:
            return
        self._server.close()
        self._unlink()
        tasks = {c.task for c in self._connections if c.task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=FINISH_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._connections):
            connection.hang_up()
        if self._connections:
            self._deserted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    await self._deserted.wait()
        for connection in list(self._connections):
            connection.cut()

    # The part of the server that connections use (`Owner`).

    def admit(self, connection: Connection) -> bool:
        """Report whether the new connection may stay. If there are too many, cut the one that was idle longest."""
        if len(self._connections) >= self._most_clients:
            idle = next((c for c in self._connections if c.is_idle), None)
            if idle is None:
                return False
            del self._connections[idle]
            idle.cut()
        self._connections[connection] = None
        return True

    def may_watch(self) -> bool:
        """Report whether one more client may have a stream of views or events."""
        return sum(c.is_watcher for c in self._connections) < self._most_watchers

    def active(self, connection: Connection) -> None:
        """Note that the connection was just used, so that others are cut before it."""
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def lost(self, connection: Connection) -> None:
        """Forget the connection."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._deserted.set()

    # The socket.

    def _bound(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.is_socket():
                self._path.unlink()
            sock.bind(str(self._path))
            # The directory is private, so no other user can connect between bind and chmod.
            self._path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            found = self._path.lstat()
        except OSError as error:
            sock.close()
            raise TrayagentError(
                f"The IPC socket {self._path} cannot be made: {error.strerror or error}.",
                code="ipc-socket",
                hint="Its path may have at most 107 bytes; TRAYAGENT_RUNTIME_DIR moves it.",
            ) from error
        self._inode = (found.st_dev, found.st_ino)
        return sock

    def _unlink(self) -> None:
        """Remove the socket, unless another process has replaced it."""
        if self.in_place:
            self._path.unlink(missing_ok=True)
