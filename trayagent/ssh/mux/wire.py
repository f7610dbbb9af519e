"""Encode the numbers and strings of the mux protocol: big-endian u32, and bytes after their u32 length."""

from __future__ import annotations

import struct

from trayagent.ssh.mux.errors import LocalProtocolError, RemoteProtocolError

MAX_PACKET = 256 * 1024
"""The largest packet that OpenSSH sends or accepts (SSHBUF limit in mux.c), without its length field."""

_U32 = struct.Struct(">I")
_U32_MAX = 0xFFFFFFFF


def u32(value: int) -> bytes:
    """Encode a number. Raise LocalProtocolError if it does not fit."""
    if not 0 <= value <= _U32_MAX:
        raise LocalProtocolError(f"{value} does not fit into 32 bits")
    return _U32.pack(value)


def string(value: str | bytes) -> bytes:
    """Encode a string; text is UTF-8, and surrogates stand for bytes of a path that are not UTF-8.

    Raise LocalProtocolError for text that cannot be encoded, or that contains a NUL, which the master would treat
    as an attack.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise LocalProtocolError("a path, name or command cannot contain a NUL")
        try:
            value = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"cannot be encoded: {error.reason}") from error
    return u32(len(value)) + value


def packet(message_type: int, body: bytes) -> bytes:
    """Return a packet with its length field. Raise LocalProtocolError if it is longer than MAX_PACKET."""
    length = 4 + len(body)
    if length > MAX_PACKET:
        raise LocalProtocolError(f"a message of {length} bytes; a master accepts at most {MAX_PACKET}")
    return u32(length) + u32(message_type) + body


class Reader:
    """Reads values from the front of a packet's body. Raises RemoteProtocolError if the body is too short."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def u32(self) -> int:
        """Read a number."""
        (value,) = _U32.unpack(self._take(4))
        return int(value)

    def raw(self) -> bytes:
        """Read a string as bytes."""
        return self._take(self.u32())

    def text(self) -> str:
        """Read a string as text, the inverse of `string`."""
        value = self.raw()
        if b"\0" in value:
            raise RemoteProtocolError("a NUL in a string")
        return value.decode("utf-8", "surrogateescape")

    @property
    def at_end(self) -> bool:
        """Whether all bytes were read."""
        return self._at == len(self._body)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._body):
            raise RemoteProtocolError(
                f"a truncated message: {count} bytes needed, {len(self._body) - self._at} left"
            )
        taken = self._body[self._at : end]
        self._at = end
        return taken
