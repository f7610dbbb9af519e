"""Encode and decode netlink messages and their attributes; pure.

Source: netlink(7), RFC 3549 section 2, linux/netlink.h. Integers are in host order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from trayagent.netlink.errors import NetlinkError

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
ATTRIBUTE_TYPE_MASK = 0x3FFF  # the two high bits mean "nested" and "network order"

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE = 0x100  # in a notification: the message replaces an existing entry

Attributes = dict[int, bytes]


class Message(NamedTuple):
    """One netlink message; `body` is what follows the header."""

    type: int
    flags: int
    seq: int
    body: bytes


def pack(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """Return the bytes of one message; the kernel fills in the sender."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, seq, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Return the bytes of one attribute, padded to a multiple of four."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def messages(data: bytes) -> Iterator[Message]:
    """Yield each message of a datagram; raises NetlinkError if one is cut short."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, seq, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            raise NetlinkError(f"a netlink message claims {length} bytes but has {len(data) - at}")
        yield Message(kind, flags, seq, data[at + HEADER.size : at + length])
        at += (length + 3) & ~3


def attributes(data: bytes, start: int = 0) -> Attributes:
    """Return the attributes from `start` on; the last one of a type wins. Raises NetlinkError."""
    found: Attributes = {}
    at, end = start, len(data)
    while at + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            raise NetlinkError(f"a netlink attribute claims {length} bytes but has {end - at}")
        found[kind & ATTRIBUTE_TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def number(value: bytes | None, default: int = 0) -> int:
    """Return an unsigned integer attribute of any width, `default` if the attribute is absent."""
    return default if value is None else int.from_bytes(value, "little" if LITTLE else "big")


def text(value: bytes | None) -> str:
    """Return a NUL-terminated attribute as text, "" if the attribute is absent."""
    return "" if value is None else value.partition(b"\0")[0].decode(errors="surrogateescape")


def error_of(body: bytes) -> int:
    """Return the positive errno of an NLMSG_ERROR body; 0 is an acknowledgement."""
    if len(body) < 4:
        raise NetlinkError("a netlink error has no error number")
    code: int = struct.unpack_from("=i", body)[0]
    return -code


LITTLE = struct.pack("=H", 1) == b"\1\0"
