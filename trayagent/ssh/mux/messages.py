"""Convert between a packet's payload and a message; messages of unknown types keep their bytes."""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

from msgspec import Struct

from trayagent.ssh.mux import answers, requests, wire
from trayagent.ssh.mux.base import Message
from trayagent.ssh.mux.errors import RemoteProtocolError

VERSION = 4


class Hello(Struct, frozen=True):
    """The first message of both sides; `extensions` are names and values that the other side may ignore."""

    TYPE: ClassVar[int] = 0x00000001
    version: int = VERSION
    extensions: tuple[tuple[str, bytes], ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        pairs = (wire.string(name) + wire.string(value) for name, value in self.extensions)
        return wire.u32(self.version) + b"".join(pairs)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""
        version = reader.u32()
        extensions = []
        while not reader.at_end:
            extensions.append((reader.text(), reader.raw()))
        return cls(version, tuple(extensions))


class Unknown(Struct, frozen=True):
    """A message of an unknown type, with its body unchanged."""

    type: int
    body: bytes


class _Decodable(Message, Protocol):
    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Return the message that a body contains."""


_KNOWN: tuple[type[_Decodable], ...] = (
    Hello,
    requests.NewSession,
    requests.AliveCheck,
    requests.Terminate,
    requests.OpenForward,
    requests.CloseForward,
    requests.NewStdioForward,
    requests.StopListening,
    answers.Ok,
    answers.PermissionDenied,
    answers.Failure,
    answers.ExitMessage,
    answers.Alive,
    answers.SessionOpened,
    answers.RemotePort,
    answers.TtyAllocFail,
)
_BY_TYPE = {known.TYPE: known for known in _KNOWN}


def encode(message: Message) -> bytes:
    """Return the message as a whole packet. Raise LocalProtocolError if the protocol cannot encode it."""
    return wire.packet(message.TYPE, message.encode())


def decode(payload: bytes) -> Message | Unknown:
    """Return the message in a packet without its length field. Raise RemoteProtocolError."""
    reader = wire.Reader(payload)
    message_type = reader.u32()
    known = _BY_TYPE.get(message_type)
    if known is None:
        return Unknown(message_type, payload[4:])
    message = known.take(reader)
    if not reader.at_end:
        raise RemoteProtocolError(f"bytes left after a {known.__name__}")
    return message
