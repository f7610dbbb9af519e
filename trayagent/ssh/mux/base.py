"""The common parts of messages: type, body, and the request number that a request and its answer share."""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

from msgspec import Struct

from trayagent.ssh.mux import wire


class Message(Protocol):
    """Any message: its type number, and its body as bytes."""

    TYPE: ClassVar[int]

    def encode(self) -> bytes:
        """Return the body that follows the type."""


class Numbered(Struct, frozen=True):
    """A request or its answer, which have the same `request_id`. This base class has only that number."""

    TYPE: ClassVar[int]
    request_id: int

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.request_id)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32())
