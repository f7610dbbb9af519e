"""A thin asyncio client for one control connection: a socket, a deadline, and the rules of `Connection`."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Sequence

from trayagent.ssh.mux import answers, requests
from trayagent.ssh.mux.base import Numbered
from trayagent.ssh.mux.errors import Gone, GoneReason, LocalProtocolError, Refused, Timeout
from trayagent.ssh.mux.forward import MuxForward
from trayagent.ssh.mux.message_order import Connection, Ended, Event
from trayagent.ssh.mux.messages import Hello
from trayagent.ssh.mux.peer_uid import peer_uid

LOCAL_S = 2.0
"""The deadline of local requests in seconds. A master answers them in 0.1 ms; a slower one is suspended or hangs."""
ROUND_TRIP_S = 10.0
"""The deadline of requests that wait for the server, on a slow path with retransmissions. A caller that knows the RTT
passes less.
"""
_RETRY_S = 0.005
"""The pause before a retry. No event reports that a full accept queue has room again, nor on macOS a full queue of
descriptors.
"""
_READ_BYTES = 65536
_NOWHERE = "255.255.255.255", 1
"""The target of a forward that no server can open. A kernel refuses a TCP connection to the broadcast address at once,
without a packet that a firewall could drop, and there is no name to resolve.
"""

_REASONS: dict[int, GoneReason] = {
    errno.ENOENT: "absent",
    errno.ENOTDIR: "absent",
    errno.ECONNREFUSED: "deaf",
}
_FULL = {errno.EAGAIN, errno.EWOULDBLOCK}
_ENDED = (ConnectionResetError, BrokenPipeError)


class MuxClient:
    """One control connection to one master: `async with MuxClient.connected(path)`.

    A caller that needs the connection for longer calls `connect` and `close`.

    The client sends one request at a time. Every call may raise Gone if the master ends the connection, Timeout if its
    deadline passes, RemoteProtocolError if the peer is no master. After a Timeout the request is still open at the
    master: call `close`, or use another connection. If a late answer counts, as for a probe, use a long deadline in a
    separate task.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected, non-blocking stream socket that was not used yet."""
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._connection = Connection()
        self._last_id = 0

    @classmethod
    async def connect(cls, path: str, *, timeout_s: float = LOCAL_S) -> MuxClient:
        """Connect to a control socket and exchange greetings. Raise Gone (with its reason) or Timeout.

        Send nothing if the socket belongs to another user. For a suspended master the kernel accepts the connection,
        but the master never greets.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        client = cls(sock)
        try:
            async with _deadline(timeout_s, "greet"):
                await _connect(sock, path)
                _check_owner(sock, path)
                await client._send(client._connection.send(Hello()))
                await client._event()
        except BaseException:
            client.close()
            raise
        return client

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, path: str, *, timeout_s: float = LOCAL_S) -> AsyncIterator[MuxClient]:
        """Connect as `connect` does, and close the connection at the end of the block."""
        client = await cls.connect(path, timeout_s=timeout_s)
        try:
            yield client
        finally:
            client.close()

    async def alive(self, *, timeout_s: float = LOCAL_S) -> int:
        """Return the pid that the master claims; its answer shows nothing about the network."""
        return _number(await self._request(requests.AliveCheck(self._next_id()), timeout_s))

    async def terminate(self, *, timeout_s: float = LOCAL_S) -> None:
        """Request that the master exits; its answer and the end of the connection both mean success.

        Raise Timeout for a master that hangs (a full send buffer on a dead connection), or Refused.
        """
        with contextlib.suppress(Gone):
            await self._request(requests.Terminate(self._next_id()), timeout_s)

    async def stop_listening(self, *, timeout_s: float = LOCAL_S) -> None:
        """Request that the master accepts no more clients; a master without sessions exits at once.

        Its local forwards stay open until it exits, but `close_forward` on this connection still closes them.
        """
        await self._request(requests.StopListening(self._next_id()), timeout_s)

    async def open_forward(self, forward: MuxForward, *, timeout_s: float = ROUND_TRIP_S) -> int | None:
        """Open a forward; return its port if the server chose it, else None. Raise Refused.

        Success does not mean that both address families are bound: ssh reports no failure if the port is busy in one of
        them. The request succeeds at once if the forward is already open, or if it was requested and never confirmed.
        """
        answer = await self._request(requests.OpenForward(self._next_id(), forward), timeout_s)
        return answer.number if isinstance(answer, answers.RemotePort) else None

    async def close_forward(self, forward: MuxForward, *, timeout_s: float = LOCAL_S) -> None:
        """Cancel a forward; all fields must equal those of the open one. Raise Refused ("port not forwarded").

        The file of a Unix socket remains.
        """
        await self._request(requests.CloseForward(self._next_id(), forward), timeout_s)

    async def stdio_forward(
        self, host: str, port: int, stdin_fd: int, stdout_fd: int, *, timeout_s: float = ROUND_TRIP_S
    ) -> int:
        """Connect the descriptors to `host`:`port` as seen from the server; return the session's number.

        Raise Refused. A refusal comes from the server, so it proves that the connection is alive.
        """
        question = requests.NewStdioForward(self._next_id(), host, port)
        return await self._open_session(question, (stdin_fd, stdout_fd), timeout_s)

    async def round_trip(self, *, timeout_s: float = ROUND_TRIP_S) -> None:
        """Return as soon as the server has answered a request for a forward that cannot be opened.

        The server handles the requests of one connection in their order, so it has then handled all earlier ones. The
        request adds a line to the server's log and to the master's, which may be the user's terminal. A session would
        print nothing. But a server with one session for each connection (tinysshd) ends the connection with it.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            with contextlib.suppress(Refused):
                await self.stdio_forward(*_NOWHERE, null, null, timeout_s=timeout_s)
        finally:
            os.close(null)

    async def new_session(
        self,
        command: str,
        *,
        fds: tuple[int, int, int],
        want_agent: bool = False,
        tty: bool = False,
        subsystem: bool = False,
        term: str = "",
        env: Sequence[str] = (),
        timeout_s: float = ROUND_TRIP_S,
    ) -> int:
        """Run a command ("" for the shell) on stdin, stdout, stderr; return the session's number.

        `env` are lines NAME=value. The master duplicates the descriptors, so close yours. Raise Refused.
        """
        question = requests.NewSession(
            self._next_id(),
            command,
            tty=tty,
            agent=want_agent,
            subsystem=subsystem,
            term=term,
            env=tuple(env),
        )
        return await self._open_session(question, fds, timeout_s)

    async def wait_exit(self, *, timeout_s: float | None = None) -> int | None:
        """Wait for the end of the session; return its status, or None if the master sent none.

        The status may come before the last output. The master ends the connection after both, and a client that closes
        earlier loses the rest. Raise Timeout if no status came.
        """
        status: int | None = None
        try:
            async with _deadline(timeout_s, "say how the session ended"):
                while True:
                    event = await self._event()
                    if isinstance(event, answers.ExitMessage):
                        status = event.status
        except Gone:
            return status
        except Timeout:
            if status is None:
                raise
            return status

    def close(self) -> None:
        """Close the connection; a session on it ends, a forward does not."""
        self._sock.close()

    def detach(self) -> socket.socket:
        """Return the connection's socket, and leave it open: the session on it lasts as long as the socket."""
        return self._sock

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _open_session(self, question: Numbered, fds: Sequence[int], timeout_s: float) -> int:
        return _number(await self._request(question, timeout_s, fds))

    async def _request(self, question: Numbered, timeout_s: float, fds: Sequence[int] = ()) -> Event:
        data = self._connection.send(question)
        async with _deadline(timeout_s, type(question).__name__):
            try:
                await self._send(data, fds)
            except BaseException:
                # A master that does not get the descriptors waits for them, and handles no other message.
                self.close()
                raise
            answer = await self._event()
        if isinstance(answer, answers.Refusal):
            raise Refused(answer.text)
        return answer

    async def _send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Write a packet and its descriptors. Yield to the event loop only if the kernel's buffer is full."""
        view = memoryview(data)
        try:
            while view:
                view = view[await self._attempt([view]) :]
            for fd in fds:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
                await self._attempt([b"\0"], [rights])
        except _ENDED as error:
            raise Gone("the ssh master closed the connection") from error

    async def _attempt(
        self, data: list[bytes | memoryview], rights: Sequence[tuple[int, int, array.array[int]]] = ()
    ) -> int:
        while True:
            try:
                return self._sock.sendmsg(data, rights)
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise LocalProtocolError("a closed descriptor cannot be passed") from error
                if error.errno not in {*_FULL, errno.EMSGSIZE, errno.ENOBUFS}:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _event(self) -> Event:
        """Return the next known message; skip unknown ones. Raise Gone at the end."""
        while True:
            event = self._connection.next_event()
            if isinstance(event, Ended):
                raise Gone("the ssh master closed the connection")
            if isinstance(event, Numbered | Hello | answers.ExitMessage):
                return event
            if event is None:
                self._connection.receive_data(await self._read())

    async def _read(self) -> bytes:
        try:
            return await self._loop.sock_recv(self._sock, _READ_BYTES)
        except _ENDED:
            return b""  # a master that exits before it reads our request resets the connection


def _number(answer: Event) -> int:
    """Return the number in an answer; the table in `connection` allows only answers with a number here."""
    if not isinstance(answer, answers.NumberedAnswer):
        raise LocalProtocolError(f"{answer} has no number")
    return answer.number


async def _connect(sock: socket.socket, path: str) -> None:
    while True:
        try:
            sock.connect(path)
        except OSError as error:
            if error.errno not in _FULL:
                reason = _REASONS.get(error.errno or 0, "unreachable")
                raise Gone(f"no ssh master at {path}: {error.strerror or error}", reason=reason) from error
        else:
            return
        # asyncio's sock_connect would read EAGAIN as "in progress", but EAGAIN means a full accept queue.
        await asyncio.sleep(_RETRY_S)


def _check_owner(sock: socket.socket, path: str) -> None:
    """Raise Gone ("foreign") if another user listens.

    Only the uid in the peer's credentials counts. The pid in them is the process that called listen(). For a master in
    the background, that is a parent which ended long ago.
    """
    uid = peer_uid(sock)
    if uid is not None and uid != os.geteuid():
        raise Gone(f"another user (uid {uid}) listens at {path}", reason="foreign")


@contextlib.asynccontextmanager
async def _deadline(timeout_s: float | None, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise Timeout(f"the ssh master did not answer within {timeout_s} s ({what})") from error
