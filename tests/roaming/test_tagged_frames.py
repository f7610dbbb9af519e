"""The tags of frames on a TCP port: forged, changed and replayed frames end the link, and never the connection."""

from __future__ import annotations

import pytest

from tests.roaming.ends import NAME, SECRET, FarStub, attached, give, received, written
from trayagent.roaming import far_relay_and_resend_buffer as far_relay
from trayagent.roaming import near_session
from trayagent.roaming.far_relay_and_resend_buffer import (
    ACK,
    ATTACH,
    BYE,
    DATA,
    END,
    FINAL,
    HEADER,
    HELLO,
    MAGIC,
    PAYLOAD_MAX,
    ROOMY,
    TAG_SIZE,
    TAGGED,
    TAGGED_PAYLOAD_MAX,
    FarLink,
    Link,
    LinkError,
    Seal,
    Stream,
    frame,
)
from trayagent.roaming.near_session import NearPortLink

TOKEN = f"{NAME}.{SECRET}".encode()
SAID = {"machine": "m", "boot": "b"}


def by_port(near: Stream, relay: FarStub, token: bytes = TOKEN) -> tuple[NearPortLink, FarLink]:
    """Return both halves of a new link on a TCP port."""
    link = relay.link()
    return NearPortLink(near, NAME, Seal(token), SAID), FarLink(link.relay, Seal(TOKEN))


def live() -> tuple[Link, Link, FarStub]:
    """Return both halves of a link on a TCP port that is live, after one by a channel."""
    first, _, relay = attached()
    near, far = by_port(first.stream, relay)
    give(far, written(near))
    give(near, written(far))
    assert near.live and far.live
    return near, far, relay


def refused(link: Link, data: bytes) -> str:
    """Let a link receive data that it must refuse. Return the code."""
    with pytest.raises(LinkError) as error:
        link.receive(memoryview(bytearray(data)), 0.0)
    return str(error.value)


def largest(data: bytes) -> int:
    """Return the size of the largest payload in tagged frames."""
    at, found = 0, 0
    while at < len(data):
        length = HEADER.unpack_from(data, at)[0]
        found, at = max(found, length), at + HEADER.size + TAG_SIZE + length
    return found


@pytest.mark.parametrize(
    ("near_version", "far_version", "window", "size"),
    [
        (2, 2, ROOMY, PAYLOAD_MAX),
        (2, 2, ROOMY - 1, TAGGED_PAYLOAD_MAX),
        (1, 2, ROOMY, TAGGED_PAYLOAD_MAX),
        (2, 1, ROOMY, TAGGED_PAYLOAD_MAX),
    ],
)
def test_large_frames_need_a_large_window_and_a_peer_that_takes_them(
    monkeypatch: pytest.MonkeyPatch, near_version: int, far_version: int, window: int, size: int
) -> None:
    """On a slow line, a key does not wait for a large frame. A relay of version 1 refuses a large one."""
    monkeypatch.setattr(near_session, "VERSION", near_version)
    monkeypatch.setattr(far_relay, "VERSION", far_version)
    near, far, relay = live()
    for link, stream, other in ((near, near.stream, far), (far, relay.stream, near)):
        link.window = window
        stream.take(b"x" * PAYLOAD_MAX)
        sent = written(link)
        assert largest(sent) == size
        give(other, sent)
        assert received(other.stream) == b"x" * PAYLOAD_MAX


def test_data_passes_in_both_directions_and_the_secret_does_not() -> None:
    """A link on a port carries data and ends both ways. Nothing that is sent there has the token's secret."""
    first, _, relay = attached()
    first.stream.take(b"early")
    near, far = by_port(first.stream, relay)
    up = written(near)
    assert NAME.encode() in up
    assert SECRET.encode() not in up
    give(far, up)
    assert received(relay.stream) == b"early"
    relay.stream.take(b"x" * 100_000)
    relay.stream.take(b"")
    down = written(far)
    give(near, down)
    assert received(near.stream) == b"x" * 100_000
    near.stream.take(b"")
    give(far, written(near))
    give(near, written(far))
    received(relay.stream)
    give(near, written(far))
    give(far, written(near))
    assert near.stream.done


def test_each_changed_bit_is_noticed() -> None:
    """A frame with one changed bit in its header, tag or payload is refused, and nothing of it is passed on."""
    near, far, relay = live()
    near.stream.take(b"payload")
    data = bytearray(written(near))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            used = far.receive(memoryview(changed), 0.0)
        except LinkError as error:
            assert str(error) in {"tag", "malformed"}
        else:
            assert used == 0  # a longer frame, whose rest never comes
        assert not relay.stream.undelivered
    give(far, bytes(data))
    assert received(relay.stream) == b"payload"


@pytest.mark.parametrize("kind", [DATA, ACK, END, BYE, ATTACH, 77])
def test_forged_frames_of_each_type_are_refused(kind: int) -> None:
    """A frame without a tag, with a random tag, or with the tag of another key is refused by either end."""
    near, far, relay = live()
    payload = b"bytes" if kind == DATA else b""
    plain = frame(kind, 0, payload, FINAL if kind == BYE else 0)
    header = HEADER.pack(len(payload), kind, TAGGED, 0, 0)
    other = Seal(f"{NAME}.{'0' * 32}".encode())
    for link in (near, far):
        assert refused(link, plain) == "malformed"
        assert refused(link, header + bytes(TAG_SIZE) + payload) == "tag"
        forged = other.tag(link.peer, link.counter, header, payload)
        assert refused(link, header + forged + payload) == "tag"
        assert link.over is None
    assert not relay.stream.undelivered


def test_frames_of_another_direction_or_attach_are_refused() -> None:
    """A frame that is sent back to its sender, or replayed on a later link, is refused."""
    near, far, relay = live()
    near.stream.take(b"once")
    data = written(near)
    assert refused(near, data) == "tag"
    give(far, data)
    later_near, later_far = by_port(near.stream, relay)
    give(later_far, written(later_near))
    give(later_near, written(later_far))
    assert refused(later_far, data) == "tag"
    assert later_near.counter == near.counter + 1


def test_a_replayed_attach_is_refused() -> None:
    """The attach of a stranger, an older attach and a copy of the present one displace nothing."""
    first, _, relay = attached()
    near, far = by_port(first.stream, relay)
    hello = written(near)
    give(far, hello)
    live_link = relay.stream.link
    assert live_link is far
    for data, code in ((hello, "older-attach"), (written(by_port(Stream(), relay)[0]), "older-attach")):
        assert refused(by_port(first.stream, relay)[1], data) == code
    stranger, ear = by_port(first.stream, relay, f"{NAME}.{'0' * 32}".encode())
    assert refused(ear, written(stranger)) == "tag"
    assert relay.stream.link is live_link


def test_the_first_attach_comes_by_a_channel() -> None:
    """The far relay accepts no first attach on a port, because only the channel reports the machine."""
    relay = FarStub()
    near, far = by_port(Stream(), relay)
    assert refused(far, written(near)) == "token"
    assert relay.stream.counter == 0


def test_a_stranger_cannot_make_the_relay_keep_bytes() -> None:
    """Before the attach, a header that announces anything else than an attach is refused at once."""
    _, far = by_port(Stream(), FarStub())
    for header in (
        HEADER.pack(65_536, DATA, TAGGED, 0, 0),
        HEADER.pack(HELLO.size, DATA, TAGGED, 0, 0),
        HEADER.pack(HELLO.size + 1, ATTACH, TAGGED, 0, 0),
        HEADER.pack(0, BYE, TAGGED, 0, 0),
    ):
        assert refused(far, header) == "malformed"


def test_a_channel_refuses_tagged_frames_and_the_secret_is_needed_there() -> None:
    """Flag 128 is malformed on a channel. The attach of a port, which has no secret, is refused there."""
    near, far, _ = attached()
    assert refused(far, HEADER.pack(0, ACK, TAGGED, 0, 0)) == "malformed"
    hello = HELLO.pack(MAGIC, 1, 1, 0, 9, NAME.encode(), b"0" * 32)
    assert refused(FarStub().link(), frame(ATTACH, 0, hello)) == "token"
    assert near.live
