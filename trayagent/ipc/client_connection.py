"""Serve one client. Limit what the client may send, and how much may wait for the client.

Theory of operation. A connection is in one of four states. *Reading*: it accepts request lines. *Busy*: one
request is in progress, and nothing is read. *Streaming*: items are written; input is read only to detect the end
of the client, and dropped. *Closing*: the last bytes are written. When the socket accepts no more data, asyncio
calls pause_writing. Until resume_writing, nothing is read, and items wait in a bounded feed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from trayagent.errors import TrayagentError
from trayagent.ipc import check_requests, messages, other_user
from trayagent.ipc.client_queue import Feed, Overflow, feed_for
from trayagent.ipc.errors import BadRequest, Refused

log = logging.getLogger(__name__)

LAST_WORDS_S = 2.0
"""How long a closing connection waits for the client to read the last bytes. Then it is cut."""


class Handler(Protocol):
    """The operations of the agent for its clients. All calls are made on the agent's event loop."""

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Carry out an operation and return its result. Raises TrayagentError."""

    async def subscribe(
        self, op: str, args: dict[str, Any], push: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Call `push` for each item from now on. Return a function that stops the calls. Raises TrayagentError.

        For a watcher, push the first view during this call. A pushed object must not be changed afterwards,
        because it may wait in the feed.
        """


class Owner(Protocol):
    """The part of the server that a connection uses."""

    handler: Handler

    def admit(self, connection: Connection) -> bool:
        """Make room for a new connection, and report whether the connection may stay."""

    def may_watch(self) -> bool:
        """Report whether one more client may have a stream."""

    def active(self, connection: Connection) -> None:
        """Note that the connection has just been used."""

    def lost(self, connection: Connection) -> None:
        """Note that the connection is gone."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._choked = False
        self._feed: Feed | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the connection may be cut: no request and no stream is in progress."""
        return self.task is None and self._feed is None

    @property
    def is_watcher(self) -> bool:
        """Whether the connection has a stream."""
        return self._feed is not None

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept connections of this user only."""
        self._transport = cast("asyncio.Transport", transport)
        if other_user.is_other_user(transport.get_extra_info("socket")):
            log.warning("another user tried to connect to the IPC socket")
            self._transport.abort()
        elif not self._owner.admit(self):
            self._refuse(Refused("Too many clients are connected to the agent.", code="too-many-clients"))

    def data_received(self, data: bytes) -> None:
        """Collect request lines. Drop the input of a streaming client."""
        if self._feed is None:
            self._unread += data
            self._advance()

    def pause_writing(self) -> None:
        """Stop writing: the client does not read."""
        self._choked = True

    def resume_writing(self) -> None:
        """Continue after the client has read again."""
        self._choked = False
        self._drain()
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio passes it
        """Forget the client. A request in progress still runs to its end."""
        self._unread.clear()
        if self._unsubscribe is not None:
            unsubscribe, self._unsubscribe = self._unsubscribe, None
            unsubscribe()
        self._owner.lost(self)

    # Requests.

    def _advance(self) -> None:
        """Process the next complete lines, unless a request is in progress or the client does not read."""
        while self._open and self.is_idle and not self._choked:
            end = self._unread.find(b"\n", 0, messages.LONGEST_REQUEST + 1)
            if end < 0:
                break
            data = bytes(self._unread[:end])
            del self._unread[: end + 1]
            if data.strip():
                self._take(data)
        if self._open and self.is_idle and len(self._unread) > messages.LONGEST_REQUEST and not self._choked:
            self._refuse(BadRequest("The line is longer than 64 KiB."))
        self._read_on(self._open and not self._choked and self.task is None)

    def _take(self, data: bytes) -> None:
        self._owner.active(self)
        try:
            request = check_requests.parse(data)
        except BadRequest as error:
            self._refuse(error)
            return
        if request.op in messages.STREAMS:
            if not self._owner.may_watch():
                self._refuse(
                    Refused(
                        "Too many watchers are connected to the agent.",
                        code="too-many-clients",
                        hint="End a `trayagent status --watch`, `trayagent events` or `trayagent attach`",
                    )
                )
                return
            self._feed = feed_for(request.op)
            work = self._subscribe(request)
        else:
            work = self._answer(request)
        self.task = asyncio.get_running_loop().create_task(work, name=f"ipc {request.op}")

    async def _answer(self, request: check_requests.Request) -> None:
        """Carry out the request and write the reply. Each exception becomes a reply; a bug is also logged."""
        try:
            result = await self._owner.handler.request(request.op, request.args, request.env)
            self._write(messages.success(result))
        except TrayagentError as error:
            self._write(messages.failure(error))
        except Exception as error:
            self._write(messages.failure(_bug(request.op, error)))
        finally:
            self.task = None
            self._owner.active(self)
            self._advance()

    # Streams.

    async def _subscribe(self, request: check_requests.Request) -> None:
        """Begin the stream, unless it is refused. Then the client may send the next request."""
        try:
            unsubscribe = await self._owner.handler.subscribe(request.op, request.args, self._push)
        except TrayagentError as error:
            self._feed = None
            self._write(messages.failure(error))
        except Exception as error:
            self._feed = None
            self._write(messages.failure(_bug(request.op, error)))
        else:
            self._unread.clear()
            if not self._open:  # the client left meanwhile
                unsubscribe()
                return
            self._unsubscribe = unsubscribe
            self._write(messages.success({}))
            self._drain()
        finally:
            self.task = None
            self._owner.active(self)
            self._advance()

    def _push(self, item: dict[str, Any]) -> None:
        if self._feed is None or not self._open:
            return
        try:
            self._feed.offer(item)
        except Overflow:
            what = "Events came faster than this client read them."
            self._refuse(Refused(what, code="too-slow", hint="Read faster, or connect again."))
            return
        if self._unsubscribe is not None:
            self._drain()

    def _drain(self) -> None:
        """Write waiting items as long as the client reads."""
        while self._feed is not None and not self._choked and self._open and self._unsubscribe is not None:
            data = self._feed.take()
            if data is None:
                break
            self._write(data)

    # The transport.

    @property
    def _open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self._open:
            self._transport.write(data)

    def _read_on(self, reading: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _refuse(self, error: TrayagentError) -> None:
        """Send the error and close."""
        self._write(messages.failure(error))
        self.hang_up()

    def hang_up(self) -> None:
        """Close once the client has read what was written, or after LAST_WORDS_S."""
        if self._transport is not None and self._open:
            self._transport.close()
            asyncio.get_running_loop().call_later(LAST_WORDS_S, self._transport.abort)

    def cut(self) -> None:
        """Close immediately."""
        if self._transport is not None:
            self._transport.abort()


def _bug(op: str, error: Exception) -> TrayagentError:
    log.error("ipc op=%s failed", op, exc_info=error)
    return TrayagentError(f"The agent failed: {type(error).__name__}.", hint="Its log says more.")
