"""The requests of a client to a master as frozen values: `encode()` returns the body, `take()` reads it.

The requests are the same from OpenSSH 8.0 to 10.5. The source is PROTOCOL.mux, corrected where ssh differs. Two
requests are left out on purpose, because a client can kill the master with them: proxy mode (by closing the socket
while a channel is unconfirmed), and the information request of 10.3 (by a malformed request).
"""

from __future__ import annotations

from typing import ClassVar, Self

from trayagent.ssh.mux import wire
from trayagent.ssh.mux.base import Numbered
from trayagent.ssh.mux.forward import MuxForward

NO_ESCAPE = 0xFFFFFFFF
"""The value that means "no escape character"."""


class AliveCheck(Numbered, frozen=True):
    """Requests the master's pid; the master answers locally, so the answer shows nothing about the network."""

    TYPE: ClassVar[int] = 0x10000004


class Terminate(Numbered, frozen=True):
    """Requests that the master exits; it usually closes the connection before it sends its answer."""

    TYPE: ClassVar[int] = 0x10000005


class StopListening(Numbered, frozen=True):
    """Requests that the master accepts no more clients and exits with its last session."""

    TYPE: ClassVar[int] = 0x10000009


class ForwardRequest(Numbered, frozen=True):
    """A request about one forward."""

    forward: MuxForward

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.request_id) + self.forward.encode()

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32(), MuxForward.take(reader))


class OpenForward(ForwardRequest, frozen=True):
    """Requests a forward; a forward that is already open counts as success."""

    TYPE: ClassVar[int] = 0x10000006


class CloseForward(ForwardRequest, frozen=True):
    """Cancels a forward. Even for a remote forward, the master answers without waiting for the server."""

    TYPE: ClassVar[int] = 0x10000007


class NewSession(Numbered, frozen=True):
    """Requests a session; stdin, stdout and stderr must follow the packet at once as descriptors.

    `env` are lines NAME=value, filtered by the master's SendEnv.
    """

    TYPE: ClassVar[int] = 0x10000002
    command: str
    tty: bool = False
    x11: bool = False
    agent: bool = False
    subsystem: bool = False
    escape_char: int = NO_ESCAPE
    term: str = ""
    env: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the body; the empty string after the id is reserved."""
        flags = (int(self.tty), int(self.x11), int(self.agent), int(self.subsystem), self.escape_char)
        strings = (self.term, self.command, *self.env)
        return b"".join(
            (wire.u32(self.request_id), wire.string(""), *map(wire.u32, flags), *map(wire.string, strings))
        )

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        request_id, _reserved = reader.u32(), reader.raw()
        tty, x11, agent, subsystem = (reader.u32() != 0 for _ in range(4))
        escape_char, term, command = reader.u32(), reader.text(), reader.text()
        env = []
        while not reader.at_end:
            env.append(reader.text())
        return cls(request_id, command, tty, x11, agent, subsystem, escape_char, term, tuple(env))


class NewStdioForward(Numbered, frozen=True):
    """Requests a connection from the server to `host`:`port`; two descriptors must follow at once.

    PROTOCOL.mux calls the port a string, but it is a number.
    """

    TYPE: ClassVar[int] = 0x10000008
    host: str
    port: int

    def encode(self) -> bytes:
        """Return the body; the empty string after the id is reserved."""
        return wire.u32(self.request_id) + wire.string("") + wire.string(self.host) + wire.u32(self.port)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        request_id, _reserved = reader.u32(), reader.raw()
        return cls(request_id, reader.text(), reader.u32())
