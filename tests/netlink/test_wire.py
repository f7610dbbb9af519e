"""The encoding and decoding of netlink messages, and the rejection of truncated ones."""

from __future__ import annotations

import struct

import pytest

from trayagent.netlink import wire
from trayagent.netlink.errors import NetlinkError


def test_messages_of_one_datagram_come_out_in_order() -> None:
    """Two messages in one datagram are read as two, without the padding."""
    data = wire.pack(20, 0, 7, b"abcde") + b"\0" * 3 + wire.pack(21, 1, 7, b"")
    assert list(wire.messages(data)) == [wire.Message(20, 0, 7, b"abcde"), wire.Message(21, 1, 7, b"")]


def test_a_message_that_is_cut_short_is_refused() -> None:
    """A length beyond the datagram raises an error, and nothing beyond its end is read."""
    with pytest.raises(NetlinkError, match="claims 20 bytes"):
        list(wire.messages(wire.pack(20, 0, 1, b"abcd")[:18]))


@pytest.mark.parametrize("length", [0, 3, 40])
def test_an_attribute_with_an_impossible_length_is_refused(length: int) -> None:
    """A length below the header's size would loop forever, and one beyond the end would read other data."""
    with pytest.raises(NetlinkError, match="attribute"):
        wire.attributes(struct.pack("=HH", length, 1) + b"1234")


def test_attributes_lose_their_flags_and_padding() -> None:
    """The nested bit is not part of the type, and each value has its exact length."""
    data = wire.attribute(0x8000 | 18, b"abcde") + wire.attribute(3, b"x")
    assert wire.attributes(data) == {18: b"abcde", 3: b"x"}


def test_an_error_message_gives_a_positive_number() -> None:
    """The kernel sends -ENETUNREACH; callers compare with errno's positive constants."""
    assert wire.error_of(struct.pack("=i", -101) + bytes(16)) == 101
