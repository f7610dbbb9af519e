"""The link between the relays: byte counts, windows, acknowledgements, and hostile peers."""

from __future__ import annotations

import ast
import os
import struct
from itertools import pairwise

import pytest

from tests.roaming.ends import MARKER, FarStub, attached, exchange, give, near_link, received, written
from trayagent.roaming import far_relay_and_resend_buffer as far_relay
from trayagent.roaming.far_relay_and_resend_buffer import (
    ACK,
    ATTACH,
    ATTACHED,
    BYE,
    DATA,
    END,
    FINAL,
    HEADER,
    KIB,
    LATE,
    MIB,
    VERSION,
    Budget,
    LinkError,
    Stream,
    frame,
)
from trayagent.roaming.near_client import FAR_RELAY


def frames(data: bytes) -> list[tuple[int, int, int, int]]:
    """Return (type, flags, offset, payload bytes) of each frame."""
    found, at = [], 0
    while at < len(data):
        length, kind, flags, _, offset = HEADER.unpack_from(data, at)
        found.append((kind, flags, offset, length))
        at += HEADER.size + length
    return found


def test_the_far_relay_is_valid_python_3_7() -> None:
    """The far relay's file parses as Python 3.7 and imports only the standard library, for old servers."""
    tree = ast.parse(FAR_RELAY.read_text(), feature_version=(3, 7))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names <= {
        "errno",
        "fcntl",
        "hmac",
        "json",
        "os",
        "select",
        "signal",
        "socket",
        "stat",
        "struct",
        "sys",
        "time",
    }


def test_bytes_and_ends_pass_in_both_directions() -> None:
    """In both directions, one inner connection receives the data and then the end that the other one sends."""
    near, far, _ = attached()
    near.stream.take(b"hello")
    far.stream.take(b"good day")
    near.stream.take(b"")
    far.stream.take(b"")
    exchange(near, far)
    assert received(far.stream) == b"hello"
    assert received(near.stream) == b"good day"
    exchange(near, far)
    assert near.stream.done and far.stream.done


def test_resuming_sends_what_is_missing_once_and_early() -> None:
    """After a cut, the first 64 KiB are sent with the attach, the rest after the answer, and no byte twice."""
    near, far, relay = attached()
    near.stream.take(os.urandom(40 * KIB))
    give(far, written(near))
    near.lose("cut")
    far.lose("cut")
    body = os.urandom(60 * KIB)
    near.stream.take(body)
    near, far = near_link(near.stream), relay.link()
    early = written(near)
    assert [one[:3] for one in frames(early)] == [(ATTACH, 0, 0), (DATA, 0, 0), (DATA, 0, 40 * KIB)]
    assert sum(one[3] for one in frames(early)[1:]) == 64 * KIB
    give(far, early)
    give(near, MARKER + written(far))
    rest = written(near)
    assert frames(rest) == [(DATA, 0, 64 * KIB, 36 * KIB)]
    give(far, rest)
    assert received(far.stream)[40 * KIB :] == body


def test_acknowledgements_come_each_32_kib_and_once_after_a_pause() -> None:
    """32 KiB are acknowledged at once.

    Less data is acknowledged 200 ms after the last byte, and then no timer remains.
    """
    near, far, _ = attached()
    near.stream.take(bytes(32 * KIB))
    give(far, written(near))
    received(far.stream)
    assert frames(written(far)) == [(ACK, 0, 32 * KIB, 0)]
    near.stream.take(b"key")
    give(far, written(near))
    received(far.stream)
    assert far.ack_at == pytest.approx(0.2) and not far.waiting()
    far.tick(0.1)
    assert not far.waiting()
    far.tick(0.25)
    assert frames(written(far)) == [(ACK, LATE, 32 * KIB + 3, 0)]
    assert far.ack_at is None and not far.waiting()


def test_a_large_window_needs_few_acknowledgements() -> None:
    """With a window of 1 MiB, each 256 KiB are acknowledged, and the end of a burst after the usual pause.

    If the last acknowledgement was long ago, because the line or the program is slow, 32 KiB are enough.
    """
    near, far, _ = attached()
    near.window = MIB
    near.stream.take(bytes(32 * KIB))
    give(far, written(near, 1.0), 1.0)
    received(far.stream, 1.0)
    assert frames(written(far, 1.0)) == [(ACK, 0, 32 * KIB, 0)]
    for number in range(2, 9):
        near.stream.take(bytes(32 * KIB))
        give(far, written(near, 1.01), 1.01)
        received(far.stream, 1.01)
        assert not far.waiting(), number
    far.tick(1.22)
    assert frames(written(far, 1.22)) == [(ACK, LATE, 256 * KIB, 0)]
    near.stream.take(bytes(256 * KIB))
    give(far, written(near, 1.23), 1.23)
    received(far.stream, 1.23)
    assert frames(written(far, 1.23)) == [(ACK, 0, 512 * KIB, 0)]
    near.stream.take(bytes(32 * KIB))
    give(far, written(near, 1.3), 1.3)
    received(far.stream, 1.3)
    assert frames(written(far, 1.3)) == [(ACK, 0, 544 * KIB, 0)]
    near.window = far_relay.ROOMY - 1
    near.stream.take(bytes(32 * KIB))
    give(far, written(near, 1.31), 1.31)
    received(far.stream, 1.31)
    assert frames(written(far, 1.31)) == [(ACK, 0, 576 * KIB, 0)]


def test_fast_data_needs_even_fewer_acknowledgements() -> None:
    """In a large window, 512 KiB that come within 2 ms get one acknowledgement."""
    near, far, _ = attached()
    near.window = MIB
    near.stream.take(bytes(32 * KIB))
    give(far, written(near, 1.0), 1.0)
    received(far.stream, 1.0)
    assert frames(written(far, 1.0)) == [(ACK, 0, 32 * KIB, 0)]
    for number in range(1, 17):
        assert not far.waiting(), number
        near.stream.take(bytes(32 * KIB))
        give(far, written(near, 1.001), 1.001)
        received(far.stream, 1.001)
    assert frames(written(far, 1.001)) == [(ACK, 0, 544 * KIB, 0)]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 30_000])
def test_data_is_delivered_before_its_frame_is_complete(size: int) -> None:
    """However the link cuts a frame, each of its bytes is delivered when it comes, and a later lie ends the link."""
    near, far, _ = attached()
    body = os.urandom(60 * KIB if size > 17 else 300)
    near.stream.take(body)
    near.stream.take(b"k")
    data, kept, got, sent = written(near), b"", b"", 0
    while sent < len(data):
        chunk = kept + data[sent : sent + size]
        sent += len(data[sent : sent + size])
        kept = chunk[far.receive(memoryview(bytearray(chunk)), 0.0) :]
        assert len(kept) < HEADER.size
        got += received(far.stream)
        assert len(got) >= min(sent - HEADER.size, len(body))
    assert got == body + b"k" and not kept
    begun = HEADER.pack(10, DATA, 0, 0, len(got)) + b"12345"
    assert far.receive(memoryview(begun), 0.0) == len(begun)
    assert received(far.stream) == b"12345"
    with pytest.raises(LinkError, match="malformed"):
        far.receive(memoryview(b"67890" + HEADER.pack(0, 99, 0, 0, 0)), 0.0)
    assert received(far.stream) == b"67890"


def test_an_acknowledgement_overtakes_waiting_data() -> None:
    """An acknowledgement is sent before waiting data, so that the peer's window opens even during our upload."""
    near, far, _ = attached()
    far.stream.take(bytes(64 * KIB))
    near.stream.take(bytes(64 * KIB))
    give(far, written(near))
    received(far.stream)
    assert [one[0] for one in frames(written(far))] == [ACK, DATA]


def fill(stream: Stream) -> int:
    """Fill the stream with as many bytes as it accepts, and return their number."""
    size = 0
    while room := stream.room():
        stream.take(bytes(room))
        size += room
    return size


def test_the_window_starts_small_grows_in_time_and_shrinks_in_lag() -> None:
    """The window starts at 192 KiB, grows to 8 MiB with quick acknowledgements, and shrinks to 64 KiB if they lag."""
    near, far, _ = attached()
    sizes, now = [near.window], 0.0
    assert fill(near.stream) == 192 * KIB
    for rtt_s in [0.05] * 20 + [0.5] * 40:
        give(far, written(near, now), now)
        received(far.stream)
        now += rtt_s
        give(near, written(far, now), now)
        fill(near.stream)
        sizes.append(near.window)
    assert sizes[0] == 192 * KIB
    assert max(sizes) == 8 * MIB
    assert all(after >= before for before, after in pairwise(sizes[:20]))
    assert sizes[-1] == 64 * KIB


def test_a_quiet_line_shows_the_round_trip_before_an_upload_hides_it() -> None:
    """A keystroke's acknowledgement gives the minimum round trip, so a slower one behind an upload counts as lag."""
    near, far, _ = attached()
    near.stream.take(b"key")
    give(far, written(near, 1.0), 1.0)
    received(far.stream)
    far.tick(1.25)
    give(near, written(far, 1.25), 1.25)
    assert near.min_rtt_s == pytest.approx(0.05)
    fill(near.stream)
    give(far, written(near, 2.0), 2.0)
    received(far.stream)
    give(near, written(far, 3.5), 3.5)
    assert near.window == 144 * KIB


def test_a_dialogue_does_not_hide_the_round_trip() -> None:
    """During a login, each message restarts the peer's timer. Only the time after the last message counts."""
    near, far, _ = attached()
    for at in (1.0, 1.1, 1.2, 1.3):
        near.stream.take(b"message")
        give(far, written(near, at), at)
        received(far.stream)
        far.delivered(at)
    far.tick(1.55)
    give(near, written(far, 1.55), 1.55)
    assert near.min_rtt_s == pytest.approx(0.05)


def test_an_answer_carries_the_acknowledgement() -> None:
    """Data that goes back takes the acknowledgement along. A slow answer does not shrink the window."""
    near, far, _ = attached()
    for sent_at, answered_at in ((1.0, 1.05), (2.0, 2.15)):
        near.stream.take(b"key")
        give(far, written(near, sent_at), sent_at)
        received(far.stream)
        far.delivered(sent_at)
        far.stream.take(b"echo")
        answer = written(far, answered_at)
        assert [one[0] for one in frames(answer)] == [ACK, DATA]
        give(near, answer, answered_at)
        assert far.ack_at is None
        assert near.stream.unconfirmed == 0
    assert near.min_rtt_s == pytest.approx(0.05)
    assert near.window == 192 * KIB


def test_a_slow_line_whose_acknowledgements_are_all_late_shrinks_the_window() -> None:
    """On a line that needs over 200 ms for 32 KiB, the timer sends each acknowledgement.

    A full window still shrinks.
    """
    near, far, _ = attached()
    near.min_rtt_s = 0.05
    fill(near.stream)
    give(far, written(near, 1.0), 1.0)
    far.stream.took(far.stream.undelivered_size)
    near.receive(memoryview(frame(ACK, far.stream.delivered, flags=LATE)), 2.5)
    assert near.window == 144 * KIB


def test_a_pause_does_not_shrink_the_window() -> None:
    """A pause without data does not shrink the window."""
    near, far, _ = attached()
    for rtt_s in (0.05, 5.0):
        near.stream.take(bytes(40 * KIB) if rtt_s < 1 else b"key")
        give(far, written(near, 10.0), 10.0)
        received(far.stream)
        far.tick(10.0 + rtt_s)
        give(near, written(far, 10.0 + rtt_s), 10.0 + rtt_s)
    assert near.stream.unconfirmed == 0
    assert near.window >= 192 * KIB


def test_the_windows_of_all_hosts_share_a_budget() -> None:
    """Ten hosts that upload at the same time share 64 MiB, and each can still send."""
    budget = Budget()
    for _ in range(10):
        stream = Stream(budget)
        stream.reserve(8 * MIB)
    assert budget.left == 0
    late = Stream(budget)
    relay = FarStub()
    near, far = near_link(late), relay.link()
    give(near, MARKER)
    exchange(near, far)
    assert fill(late) == 192 * KIB


def test_one_mib_is_kept_while_away() -> None:
    """Without a link a program can send 1 MiB before it has to wait.

    Tiny pieces need no more memory than large ones.
    """
    stream = Stream()
    assert 1 * MIB - 8 * KIB < fill(stream) <= 1 * MIB
    stream = Stream()
    while stream.room():
        stream.take(bytes(36))
    assert len(stream.held) < 1000


def hostile(kind: int, offset: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame as an attacker might write it."""
    return HEADER.pack(len(payload), kind, flags, 0, offset) + payload


LIES = {
    "bytes from the future": hostile(DATA, 7, b"x"),
    "bytes after the last offset": hostile(DATA, 2**64 - 1, b"xx"),
    "an acknowledgement of what was never sent": hostile(ACK, 6),
    "an end in the middle": hostile(END, 3),
    "an end in the future": hostile(END, 6),
    "bytes after the end": hostile(END, 5) + hostile(DATA, 5, b"x"),
    "a second attach": hostile(ATTACH, 0, bytes(64)),
    "an unknown type": hostile(99),
    "type zero": hostile(0),
    "an unknown flag": hostile(DATA, 5, b"x", flags=0x80),
    "a payload that is too long": struct.pack("!IBBHQ", 64 * KIB + 1, DATA, 0, 0, 5),
    "a payload of 4 GB": struct.pack("!IBBHQ", 2**32 - 1, DATA, 0, 0, 5),
    "a reserved field": struct.pack("!IBBHQ", 1, DATA, 0, 1, 5) + b"x",
    "an acknowledgement with a payload": hostile(ACK, 0, b"x"),
    "an end with a payload": hostile(END, 5, b"x"),
}


@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_ends_the_link_and_not_the_connection(side: str, lie: str) -> None:
    """A false frame ends the link. Over the next link all data arrives, also data from before the false frame."""
    near, far, relay = attached()
    near.stream.take(b"12345")
    far.stream.take(b"12345")
    exchange(near, far)
    victim = near if side == "near" else far
    with pytest.raises(LinkError):
        victim.receive(memoryview(LIES[lie]), 0.0)
    near.lose("lie")
    far.lose("lie")
    if "after the end" in lie:
        return  # the end frame itself was accepted
    near, far = near_link(near.stream), relay.link()
    give(near, MARKER)
    near.stream.take(b"678")
    exchange(near, far)
    assert received(far.stream) == b"12345678"
    assert received(near.stream) == b"12345"


def test_what_was_kept_but_never_sent_cannot_be_confirmed() -> None:
    """A peer that acknowledges bytes that were never sent ends its link. Otherwise these bytes would be lost."""
    near, _, _ = attached()
    near.stream.take(bytes(64 * KIB))
    with pytest.raises(LinkError, match="confirmed-unsent"):
        near.receive(memoryview(hostile(ACK, 64 * KIB)), 0.0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("secret", "token"),
        ("counter", "older-attach"),
        ("version", "version"),
        ("offset", "confirmed-unsent"),
    ],
)
def test_the_far_relay_refuses_an_attach(change: str, code: str) -> None:
    """An attach with another secret, an older counter, an unknown version or a false count is refused."""
    near, far, relay = attached()
    hello = bytearray(
        written(
            near_link(Stream(Budget()), secret="f" * 32 if change == "secret" else "0123456789abcdef" * 2)
        )
    )
    hello[-56:-48] = struct.pack("!Q", 1 if change == "counter" else 9)
    if change == "version":
        hello[20:22] = bytes((250, 240))
    if change == "offset":
        hello[8:16] = struct.pack("!Q", 4711)
    attacker = relay.link()
    with pytest.raises(LinkError, match=code):
        attacker.receive(memoryview(hello), 0.0)
    assert relay.stream.link is far
    near.stream.take(b"still here")
    exchange(near, far)
    assert received(far.stream) == b"still here"


def test_a_newer_version_is_spoken_to_in_the_common_one() -> None:
    """A near relay of a later release that still speaks version 1 gets the version of this one."""
    relay = FarStub()
    hello = bytearray(written(near_link(Stream(Budget()))))
    hello[20:22] = bytes((7, 1))
    far = relay.link()
    give(far, bytes(hello))
    answer = written(far)
    assert frames(answer)[0][0] == ATTACHED
    assert answer[HEADER.size] == VERSION


def test_noise_before_the_marker_is_skipped_up_to_a_limit() -> None:
    """Output of start-up files before the marker is skipped, up to a limit. Endless output comes from no far relay."""
    near, far = near_link(Stream(Budget())), FarStub().link()
    give(far, written(near))
    noise = b"Welcome to the server!\nTRAYAGENT\n" * 100
    data, at = noise + MARKER + written(far), 0
    for stop in range(100, len(data) + 100, 100):  # in pieces, as a channel may deliver the bytes
        at += near.receive(memoryview(data[at:stop]), 0.0)
    assert near.live
    other, at = near_link(Stream(Budget())), 0
    with pytest.raises(LinkError, match="no-marker"):
        for stop in range(0, 100_000, 1000):
            at += other.receive(memoryview(bytes(100_000)[at:stop]), 0.0)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"machine": "other", "boot": "b"}', "other-machine"),
        (b'{"machine": "m", "boot": "b", "error": "unknown"}', "unknown"),
        (b"[]", "no-marker"),
        (b"{", "no-marker"),
        (b"[" * 5000, "no-marker"),
        (b'{"machine": "m"}', "no-marker"),
        (b"x" * 5000, "no-marker"),
    ],
)
def test_a_marker_that_does_not_fit_ends_the_link(line: bytes, code: str) -> None:
    """A marker with another machine, an error or invalid JSON ends the link with a code. The stream stays unchanged."""
    near = near_link(Stream(Budget()), machine="m")
    with pytest.raises(LinkError, match=code):
        near.receive(memoryview(b"TRAYAGENT-ROAM " + line + b"\n"), 0.0)
    assert near.stream.link is None


def test_a_goodbye_is_final_only_from_a_live_link() -> None:
    """A goodbye ends the connection only if it comes from an attached peer."""
    near, far, relay = attached()
    with pytest.raises(LinkError, match="ended"):
        relay.link().receive(memoryview(frame(BYE, 0, b"ended", FINAL)), 0.0)
    give(near, frame(BYE, 0, b"ended", FINAL))
    assert near.over == "ended"
    assert far.live


def test_a_flood_beyond_every_window_ends_the_link() -> None:
    """A peer that sends more than the window ends its link, so it fills at most one window of memory."""
    near, _, _ = attached()
    piece, at = bytes(64 * KIB), 0
    with pytest.raises(LinkError, match="flood"):
        while at < 64 * MIB:
            near.receive(memoryview(hostile(DATA, at, piece)), 0.0)
            near.stream.settle()
            at += len(piece)
    assert near.stream.undelivered_size <= far_relay.UNDELIVERED_MAX


def test_tiny_frames_do_not_cost_more_memory_than_large_ones() -> None:
    """Single-byte frames from a peer are stored in few objects, so they need no more memory than large ones."""
    near, _, _ = attached()
    for at in range(20_000):
        near.receive(memoryview(hostile(DATA, at, b"x")), 0.0)
        near.stream.settle()
    assert len(near.stream.undelivered) < 20
