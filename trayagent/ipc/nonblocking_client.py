"""A client that reads the agent's answers without blocking, for programs that also wait for other events."""

from __future__ import annotations

from trayagent.ipc import blocking_client, messages
from trayagent.ipc.errors import AgentSilent, NoAgent

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    import os
    from typing import Any, Self


class Heard:
    """One request and its answers. It can be passed to select(2), and is a context manager.

    The constructor connects and sends the request. It raises NoAgent or AgentSilent.
    """

    def __init__(self, path: str | os.PathLike[str], op: str, args: dict[str, Any]) -> None:
        self._kind = "result"
        self._streams = op in messages.STREAMS
        self._buffer = bytearray()
        self._sock = blocking_client.connected(path)
        try:
            blocking_client.send(self._sock, op, args)
        except OSError as error:
            self.close()
            raise NoAgent("The agent ended.", code="agent-ended") from error
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor. It is readable when there is something to take."""
        return self._sock.fileno()

    def take(self) -> list[dict[str, Any]]:
        """Return what has arrived: items of a stream, or the result of another operation; [] if nothing has.

        Raises NoAgent when the agent ended, Refused with its text, AgentSilent for an invalid answer.
        """
        try:
            chunk = self._sock.recv(blocking_client.CHUNK)
        except BlockingIOError:
            return []
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise NoAgent("The agent ended.", code="agent-ended")
        self._buffer += chunk
        if len(self._buffer) > messages.LONGEST_REPLY:
            raise AgentSilent("The agent's answer is too long.", code="bad-reply")
        return self._messages()

    def _messages(self) -> list[dict[str, Any]]:
        found = []
        for line in blocking_client.whole_lines(self._buffer):
            value = messages.read_reply(line, self._kind)
            if self._kind == "item" or not self._streams:
                found.append(value)
            self._kind = "item" if self._streams else "result"
        return found

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
