"""The agent's connection to the near relay: requests with descriptors, their answers, and events.

docs/roaming.md describes the protocol. Each request has a tag, so a late answer is not mistaken for another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from trayagent.errors import TrayagentError
from trayagent.roaming.far_relay_and_resend_buffer import receive_fds
from trayagent.roaming.near_requests import OLDEST, VERSION

log = logging.getLogger(__name__)

LOCAL_S = 5.0  # the near relay answers within 1 ms, unless the machine is very busy
SILENT = "silent"
"""The code of an error if the relay does not answer. Its process lives, because it holds its socket."""
_READ_BYTES = 64 * 1024
_RETRY_S = 0.005


class NearRelayError(TrayagentError):
    """The near relay refused a request, or cannot be used. `code` is the reason."""


class NearRelayListener(Protocol):
    """Receives what the near relay reports."""

    def relay_reported(self, event: dict[str, Any]) -> None:
        """React to an event of the relay: a connection was attached, lost its link, or ended."""

    def relay_lost(self) -> None:
        """React to the end of the near relay. All connections that it carried ended with it."""


class Greeting(Struct, frozen=True):
    """The near relay's identity. `version` is the newest version of the protocol that both sides speak.

    `ports`: it can attach over TCP ports. A near relay from before an upgrade cannot, and would keep the descriptor.
    """

    instance: str
    pid: int
    version: int
    ports: bool = False


class NearRelayConnection:
    """One connection to the near relay, from `connect` to `close`.

    A failed request raises NearRelayError. Its code is the relay's, "gone" if the relay ended, or "silent".
    """

    def __init__(self, sock: socket.socket, listener: NearRelayListener) -> None:
        self.greeting = Greeting("", 0, 0)
        self._sock = sock
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._said = b""
        self._fds: list[int] = []
        self._tag = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._greeted: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._closed = False

    @classmethod
    async def connect(cls, path: Path, listener: NearRelayListener) -> NearRelayConnection | None:
        """Connect, and pass events to the listener. Return None if no near relay listens at the path.

        Raise NearRelayError if the relay does not answer, or supports no version that the agent supports.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:  # its queue is full, so it accepts nothing
            sock.close()
            raise _silent() from None
        except OSError:
            sock.close()
            return None
        connection = cls(sock, listener)
        try:
            await connection._begin()
        except NearRelayError as error:
            connection.close()
            if error.code == "gone":  # the relay was about to end, so none is left
                return None
            raise
        except BaseException:
            connection.close()
            raise
        return connection

    async def ask(
        self, do: str, fds: Sequence[int] = (), *, within_s: float = LOCAL_S, **words: Any
    ) -> dict[str, Any]:
        """Return the answer to a request. Raise NearRelayError if the relay refused it."""
        answer = await self._answer(do, fds, within_s, words)
        if answer.get("ok") is not True:
            raise _refused(answer)
        return answer

    async def start(self, token: str, roam_for_s: float, host: str) -> socket.socket:
        """Begin a connection in the relay; return the socket to pass to ssh."""
        name, _, secret = token.partition(".")
        await self.ask("start", id=name, secret=secret, roam_for=roam_for_s, host=host)
        return socket.socket(fileno=self._fds.pop(0))

    async def attach(self, token_id: str, fds: Sequence[int], *, within_s: float) -> dict[str, Any]:
        """Attach a connection over a channel. Return the relay's answer, even if the attach failed."""
        return await self._answer("attach", fds, within_s, {"id": token_id})

    async def attach_port(self, token_id: str, fd: int, *, within_s: float) -> dict[str, Any]:
        """Attach over a TCP connection to the far relay's port. Return the relay's answer, even if that failed."""
        return await self._answer("attach-port", [fd], within_s, {"id": token_id})

    async def sessions(self) -> list[dict[str, Any]]:
        """Return the connections that the relay carries."""
        found: list[dict[str, Any]] = (await self.ask("status"))["sessions"]
        return found

    async def quit_if_idle(self) -> bool:
        """End the relay unless it carries a connection; report whether it ends now."""
        try:
            await self.ask("quit")
        except NearRelayError as refused:
            return refused.code == "gone"
        return True

    def close(self) -> None:
        """Close the agent's connection to the relay. The relay keeps running."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        gone = NearRelayError("The near relay ended", code="gone")
        for future in (*self._waiting.values(), self._greeted):
            if not future.done():
                future.set_exception(gone)
                future.exception()  # mark the exception as retrieved, in case no task waits for it any more
        self._waiting.clear()

    async def _begin(self) -> None:
        self._loop.add_reader(self._sock, self._readable)
        said = await self._within(self._greeted, LOCAL_S)
        newest, oldest = said.get("v"), said.get("oldest")
        if not isinstance(newest, int) or not isinstance(oldest, int) or said.get("relay") != "near":
            raise NearRelayError("Another program listens at the near relay's socket", code="foreign")
        version = min(VERSION, newest)
        if version < max(OLDEST, oldest):
            raise NearRelayError("The near relay that runs is of another version", code="version")
        ports = said.get("ports") is True
        self.greeting = Greeting(str(said.get("instance")), int(said.get("pid", 0)), version, ports)
        await self.ask("watch")

    async def _answer(
        self, do: str, fds: Sequence[int], within_s: float, words: dict[str, Any]
    ) -> dict[str, Any]:
        if self._closed:
            raise NearRelayError("The near relay ended", code="gone")
        self._tag += 1
        tag = self._tag
        future = self._waiting[tag] = self._loop.create_future()
        try:
            await self._send({"v": self.greeting.version, "do": do, "tag": tag, **words}, fds)
            return await self._within(future, within_s)
        finally:
            self._waiting.pop(tag, None)

    async def _within(self, future: asyncio.Future[dict[str, Any]], seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise _silent() from None

    async def _send(self, words: dict[str, Any], fds: Sequence[int]) -> None:
        line = memoryview(json.dumps(words).encode() + b"\n")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        while line:
            try:
                line = line[self._sock.sendmsg([line], rights) :]
                rights = []
            except BlockingIOError:
                await asyncio.sleep(_RETRY_S)
            except OSError:
                self._lost()
                raise NearRelayError("The near relay ended", code="gone") from None

    def _readable(self) -> None:
        try:
            said, fds = receive_fds(self._sock, _READ_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            said, fds = b"", []
        self._fds += fds
        self._said += said
        if not said:
            self._lost()
            return
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            if not self._closed:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            words = json.loads(line)
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, dict):
            log.warning("the near relay said something invalid")
            self._lost()
            return
        if not self._greeted.done():
            self._greeted.set_result(words)
        elif "event" in words:
            self._listener.relay_reported(words)
        elif (future := self._waiting.get(words.get("tag", 0))) is not None and not future.done():
            future.set_result(words)
        else:  # the task that sent the request was cancelled
            while self._fds:
                os.close(self._fds.pop())

    def _lost(self) -> None:
        greeted = self._greeted.done() and not self._closed
        self.close()
        if greeted:
            self._listener.relay_lost()


def _silent() -> NearRelayError:
    return NearRelayError("The near relay does not answer", code=SILENT)


def _refused(answer: dict[str, Any]) -> NearRelayError:
    code = str(answer.get("error"))[:60]
    return NearRelayError(f"The near relay refused a request: {code}", code=code)
