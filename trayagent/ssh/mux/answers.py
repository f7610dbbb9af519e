"""The answers of a master as frozen values: `encode()` returns the body, `take()` reads it."""

from __future__ import annotations

from typing import ClassVar, Self

from msgspec import Struct

from trayagent.ssh.mux import wire
from trayagent.ssh.mux.base import Numbered


class Ok(Numbered, frozen=True):
    """The master carried out the request."""

    TYPE: ClassVar[int] = 0x80000001


class Refusal(Numbered, frozen=True):
    """The master did not carry out the request; `text` is the reason."""

    text: str

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.request_id) + wire.string(self.text)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32(), reader.text())


class PermissionDenied(Refusal, frozen=True):
    """The user declined (`ControlMaster ask`), or the master does not trust this client."""

    TYPE: ClassVar[int] = 0x80000002


class Failure(Refusal, frozen=True):
    """The request failed."""

    TYPE: ClassVar[int] = 0x80000003


class NumberedAnswer(Numbered, frozen=True):
    """An answer with one number."""

    number: int

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.request_id) + wire.u32(self.number)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32(), reader.u32())


class Alive(NumberedAnswer, frozen=True):
    """The master is alive; `number` is its pid."""

    TYPE: ClassVar[int] = 0x80000005


class SessionOpened(NumberedAnswer, frozen=True):
    """The session or stdio forward is open; `number` identifies it in later messages."""

    TYPE: ClassVar[int] = 0x80000006


class RemotePort(NumberedAnswer, frozen=True):
    """The remote forward is open; `number` is the port that the server chose."""

    TYPE: ClassVar[int] = 0x80000007


class ExitMessage(Struct, frozen=True):
    """The session's command ended with this status (255 for a signal)."""

    TYPE: ClassVar[int] = 0x80000004
    session_id: int
    status: int

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.session_id) + wire.u32(self.status)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32(), reader.u32())


class TtyAllocFail(Struct, frozen=True):
    """The server could not allocate a terminal for the session."""

    TYPE: ClassVar[int] = 0x80000008
    session_id: int

    def encode(self) -> bytes:
        """Return the body."""
        return wire.u32(self.session_id)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        return cls(reader.u32())
