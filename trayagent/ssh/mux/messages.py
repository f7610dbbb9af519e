"""From a packet's payload to a message and back; what we do not know stays as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from trayagent.ssh.mux import answers, requests, wire
from trayagent.ssh.mux.base import Message
from trayagent.ssh.mux.errors import RemoteProtocolError

VERSION = 4


@dataclass(frozen=True, slots=True)
class Hello:
    """Both sides' first message; `extensions` are names and values that the other may ignore."""

    TYPE: ClassVar[int] = 0x00000001
    version: int = VERSION
    extensions: tuple[tuple[str, bytes], ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        pairs = (wire.string(name) + wire.string(value) for name, value in self.extensions)
        return wire.u32(self.version) + b"".join(pairs)

    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Read the body."""
        version = reader.u32()
        extensions = []
        while not reader.at_end:
            extensions.append((reader.text(), reader.raw()))
        return cls(version, tuple(extensions))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that we do not know, kept as it came."""

    type: int
    body: bytes


class _Decodable(Message, Protocol):
    @classmethod
    def take(cls, reader: wire.Reader) -> Self:
        """Read the body."""


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
    """Return the message as a whole packet; raises LocalProtocolError where no wire can carry it."""
    return wire.packet(message.TYPE, message.encode())


def decode(payload: bytes) -> Message | Unknown:
    """Return the message of a packet without its length field; raises RemoteProtocolError."""
    reader = wire.Reader(payload)
    message_type = reader.u32()
    known = _BY_TYPE.get(message_type)
    if known is None:
        return Unknown(message_type, payload[4:])
    message = known.take(reader)
    if not reader.at_end:
        raise RemoteProtocolError(f"bytes left after a {known.__name__}")
    return message
