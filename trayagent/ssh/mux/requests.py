"""What a client asks of a master: frozen values, `encode()` to the body, `take()` back.

The same from OpenSSH 8.0 to 10.5. PROTOCOL.mux is the source, corrected where ssh does otherwise. Left
out on purpose: proxy mode, where closing the socket with an unconfirmed channel kills the master, and
the information requests of 10.3, where a malformed one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from trayagent.ssh.mux import wire
from trayagent.ssh.mux.base import Numbered
from trayagent.ssh.mux.forward import MuxForward

NO_ESCAPE = 0xFFFFFFFF
"""The escape character of a session that has none."""


@dataclass(frozen=True, slots=True)
class AliveCheck(Numbered):
    """Asks for the master's pid; answered locally, so it says nothing about the network."""

    TYPE: ClassVar[int] = 0x10000004


@dataclass(frozen=True, slots=True)
class Terminate(Numbered):
    """Asks the master to exit; it mostly closes the connection before its answer is out."""

    TYPE: ClassVar[int] = 0x10000005


@dataclass(frozen=True, slots=True)
class StopListening(Numbered):
    """Asks the master to take no more clients and to exit with its last session."""

    TYPE: ClassVar[int] = 0x10000009


@dataclass(frozen=True, slots=True)
class ForwardRequest(Numbered):
    """A request about one forward."""

    forward: MuxForward

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.request_id) + self.forward.encode()

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Read the body."""
        return cls(reader.u32(), MuxForward.take(reader))


@dataclass(frozen=True, slots=True)
class OpenForward(ForwardRequest):
    """Asks for a forward; one that is open already is a success."""

    TYPE: ClassVar[int] = 0x10000006


@dataclass(frozen=True, slots=True)
class CloseForward(ForwardRequest):
    """Takes a forward back; for a remote one the answer does not wait for the server."""

    TYPE: ClassVar[int] = 0x10000007


@dataclass(frozen=True, slots=True)
class NewSession(Numbered):
    """Asks for a session; stdin, stdout and stderr must follow the packet at once as descriptors.

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
        """Read the body."""
        request_id, _reserved = reader.u32(), reader.raw()
        tty, x11, agent, subsystem = (reader.u32() != 0 for _ in range(4))
        escape_char, term, command = reader.u32(), reader.text(), reader.text()
        env = []
        while not reader.at_end:
            env.append(reader.text())
        return cls(request_id, command, tty, x11, agent, subsystem, escape_char, term, tuple(env))


@dataclass(frozen=True, slots=True)
class NewStdioForward(Numbered):
    """Asks for a connection to `host`:`port` from the server; two descriptors must follow at once.

    PROTOCOL.mux calls the port a string; it is a number.
    """

    TYPE: ClassVar[int] = 0x10000008
    host: str
    port: int

    def encode(self) -> bytes:
        """Return the body; the empty string after the id is reserved."""
        return wire.u32(self.request_id) + wire.string("") + wire.string(self.host) + wire.u32(self.port)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Read the body."""
        request_id, _reserved = reader.u32(), reader.raw()
        return cls(request_id, reader.text(), reader.u32())
