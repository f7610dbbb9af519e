"""A blocking client: one connection for each call, standard library only, no asyncio."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from trayagent.ipc import messages, other_user
from trayagent.ipc.errors import AgentSilent, NoAgent

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONNECT_TIMEOUT_S = 5.0
"""A running agent accepts within a millisecond. If it is suspended, its connection queue may be full."""
CHUNK = 1 << 16


def call(
    path: str | os.PathLike[str], op: str, args: dict[str, Any], timeout_s: float | None = None
) -> dict[str, Any]:
    """Send a request and return the agent's result. With `timeout_s` None, wait as long as the agent needs.

    Raises NoAgent, AgentSilent, or Refused with the agent's text.
    """
    with connected(path) as sock:
        lines = _send_request(sock, op, args, timeout_s)
        return messages.read_reply(next(lines), "result")


def stream(path: str | os.PathLike[str], op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Request a stream and yield its items. Raises the errors of `call`, and NoAgent when the agent ends."""
    with connected(path) as sock:
        lines = _send_request(sock, op, args, None)
        messages.read_reply(next(lines), "result")
        for data in lines:
            yield messages.read_reply(data, "item")


def connected(path: str | os.PathLike[str]) -> socket.socket:
    """Return a connection to this user's agent. Raises NoAgent, AgentSilent."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _connect(sock, os.fspath(path))
        if other_user.is_other_user(sock):
            raise AgentSilent(f"The socket {path} belongs to another user.", code="unsafe-socket")
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        sock.close()
        raise NoAgent from error
    except TimeoutError as error:
        sock.close()
        raise _silent() from error
    except OSError as error:
        sock.close()
        what = f"The agent's socket {path} cannot be used: {error.strerror or error}."
        raise AgentSilent(what, code="unusable-socket") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, path: str) -> None:
    """Connect within CONNECT_TIMEOUT_S; raises OSError."""
    sock.settimeout(CONNECT_TIMEOUT_S)
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return sock.connect(path)
        except (
            BlockingIOError
        ) as error:  # the agent's queue is full; then connect fails at once with EAGAIN, despite the timeout
            if time.monotonic() > deadline:
                raise TimeoutError from error
            time.sleep(0.01)


def _send_request(
    sock: socket.socket, op: str, args: dict[str, Any], timeout_s: float | None
) -> Iterator[bytes]:
    """Send the request and yield the agent's lines. The generator ends only with an exception."""
    sock.settimeout(timeout_s)
    buffer = bytearray()
    try:
        send(sock, op, args)
        while True:
            yield from whole_lines(buffer)
            chunk = sock.recv(CHUNK)
            if not chunk:
                raise NoAgent("The agent ended.", code="agent-ended")
            buffer += chunk
            if len(buffer) > messages.LONGEST_REPLY:
                raise AgentSilent("The agent's answer is too long.", code="bad-reply")
    except TimeoutError as error:
        raise _silent() from error
    except ConnectionError as error:
        raise NoAgent("The agent ended.", code="agent-ended") from error


def send(sock: socket.socket, op: str, args: dict[str, Any]) -> None:
    """Send a request; raises OSError."""
    env = {name: os.environ[name] for name in messages.PASSED_ENV if name in os.environ}
    with contextlib.suppress(BrokenPipeError):  # the agent refused us; its reason can still be read
        sock.sendall(messages.request(op, args, env))


def whole_lines(buffer: bytearray) -> Iterator[bytes]:
    """Yield the complete lines at the beginning of the buffer, and remove them from it."""
    while (end := buffer.find(b"\n")) >= 0:
        data = bytes(buffer[:end])
        del buffer[: end + 1]
        yield data


def _silent() -> AgentSilent:
    hint = "See its log, or restart it: trayagent stop, then trayagent run"
    return AgentSilent("The agent does not answer.", code="agent-silent", hint=hint)
