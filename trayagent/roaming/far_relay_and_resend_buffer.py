#!/usr/bin/env python3
"""Keeps one ssh connection of a laptop open on its server while the laptop changes networks.

trayagent puts this file on a server and starts it through ssh, as the user who logs in. It needs Python 3.7 or
later and nothing else. It listens on a Unix socket that only this user can open, and connects to this server's own
sshd. It opens a TCP port only if `serve` gets PORTS. docs/roaming.md of trayagent describes it for administrators.

    python3 -m far_relay serve ADDRESS PORT SECONDS LAPTOP [PORTS]
                                     start a relay in the background; the token is on stdin
    python3 -m far_relay attach ID   connect stdin and stdout to a relay
    python3 -m far_relay end         end a relay; the token is on stdin
    python3 -m far_relay list        print the user's relays on this machine as JSON
    python3 -m far_relay look ID     print what this login sees of a relay that does not answer

With PORTS, such as 60001-60010, the relay also listens on the first free one of these TCP ports, at ADDRESS.

A token is ID.SECRET: 16 and 32 hexadecimal digits. Each command prints one line that begins with TRAYAGENT-ROAM.

The first half of this file has what both ends of a link need: frames, byte counts, and moving bytes between
descriptors. trayagent's near relay imports this half. The classes Stream and Link do no I/O and read no clock.
"""
# A relay may wait on a server for hours, so this file does not import pathlib and contextlib, which need memory. It
# formats text with %. The rules against both are off:
# ruff: noqa: PTH103, PTH104, PTH108, PTH110, PTH111, PTH112
# ruff: noqa: PTH116, PTH117, PTH118, PTH123, PTH208, SIM105, UP031

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import stat
import struct
import sys
import time
from collections import deque
from itertools import islice

TYPE_CHECKING = False  # importing typing would need more memory, too
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Union

    Buffer = Union[bytes, memoryview]

VERSION = 2
"""The newest version of the link's protocol that this file supports."""
OLDEST = 1
LARGE_TAGGED = 2  # since this version, a tagged frame may have PAYLOAD_MAX bytes

KIB = 1024
MIB = 1024 * KIB

PAYLOAD_MAX = 64 * KIB  # small, because a keystroke waits until the current frame is sent
EARLY_MAX = 64 * KIB  # send this much data with the attach, so that resuming needs no extra round trip
WINDOW_START = 192 * KIB  # beside an upload at 1 Mbit/s, a keystroke took 3 s with this, but 20 s with 8 MiB
WINDOW_MIN = 64 * KIB  # the peer acknowledges twice in each window
WINDOW_MAX = 8 * MIB
WINDOWS_MAX = 64 * MIB  # for all connections of a process together
AWAY_MAX = 1 * MIB  # keep this much data without a link; then programs wait, as with plain ssh
# An honest peer never has more in flight. Reading cannot pause instead, because the link also carries the peer's ACKs.
UNDELIVERED_MAX = WINDOW_MAX + PAYLOAD_MAX
ACK_EACH = 32 * KIB
ACK_EACH_ROOMY = 256 * KIB  # each acknowledgement wakes every process on the path
ACK_EACH_FAST = 512 * KIB  # in such a window, for data that comes this fast:
ACK_FAST_S = 0.002
ACK_ROOMY_S = 0.05  # on a slow line or for a slow program, acknowledge each 32 KiB
ROOMY = 4 * ACK_EACH_ROOMY  # a window of this size needs no acknowledgement each 32 KiB
ACK_AFTER_S = 0.2  # acknowledge this long after the last byte; without traffic no timer runs
LAG = 2.0  # an acknowledgement within this many minimum round trips allows a larger window
LAG_SLACK_S = 0.01  # scheduling adds this much on a busy machine
BURST = 256 * KIB  # the most that one call reads or writes
# Read no more of the inner connection at once. One read takes two packets of ssh, which have 32 KiB and a little more.
# The C library would map and unmap memory for each buffer of 128 KiB.
READ_MAX = 120 * KIB
# While much data arrives, what goes back is little: an upload's sshd sends 10,000 small packets per GB, and each wakes
# five processes. So a relay reads them when an acknowledgement is due, and sends them with it. It reads them at once
# after a pause of HOLD_S, which is longer than a process usually waits for a processor.
HOLD_S = 0.006
HOLD_AFTER = 256 * KIB  # begin to wait after this many bytes without such a pause
HOLD_AFTER_MAX = 16 * MIB  # if data goes back that should not wait
HOLD_READ_MIN = 16 * KIB  # smaller pieces are no bulk transfer
HOLD_SMALL = 4 * KIB  # more than this is no answer to a bulk transfer
BUFFERS_MAX = 500  # buffers in one call; every system allows 1024
SMALL = 4 * KIB  # join smaller pieces of data, because each piece needs memory of its own
HELD_MAX = 4096  # the most pieces of data; a piece needs more memory than its bytes
ROOM_MIN = 8 * KIB  # with less room in the window, wait for the next acknowledgement

# -- frames -------------------------------------------------------------------------------------------------

HEADER = struct.Struct("!IBBHQ")
"""Payload bytes, type, flags, zero, offset. Flag TAGGED announces a tag between the header and the payload."""
TAGGED = 0x80  # flag of every frame on a TCP port, which no ssh protects. A channel refuses it
TAG_SIZE = 16
# Nothing of a tagged frame is passed on before all of it is here, so a large one would delay a key on a slow line.
TAGGED_PAYLOAD_MAX = 16 * KIB
ATTACH, ATTACHED, DATA, ACK, END, BYE = range(1, 7)
LATE = 1  # flag of an ACK: sent by the timer, so the round trip includes ACK_AFTER_S
RARE = 1  # flag of DATA: the sender's window is so large that an ACK each ACK_EACH_ROOMY is enough
FINAL = 1  # flag of a BYE: the connection ends, not only this link

HELLO = struct.Struct("!4sBBHQ16s32s")
"""The payload of ATTACH: magic, newest and oldest version, zero, counter, ID and secret of the token."""
WELCOME = struct.Struct("!BBHQ")
"""The payload of ATTACHED: version, two zeros, counter."""
MAGIC = b"roam"


def frame(kind: int, offset: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return the bytes of a frame."""
    return HEADER.pack(len(payload), kind, flags, 0, offset) + payload


class Seal:
    """Tags the frames of one connection's links on a TCP port, with a key from the token. The token stays secret.

    Raise ImportError if Python cannot load its hash functions: the relay may run since before an upgrade.
    """

    def __init__(self, token: bytes) -> None:
        import hmac  # imported only here, because it needs 3 MB, and most relays have no port

        key = hmac.new(token, b"direct port 1", "sha256").digest()
        self._mac = hmac.new(key, digestmod="sha256")

    def tag(self, sender: bytes, counter: int, header: Buffer, payload: Buffer) -> bytes:
        """Return the tag of a frame: a truncated HMAC-SHA256. `sender` is NEAR or FAR, `counter` the attach's."""
        mac = self._mac.copy()
        mac.update(sender + counter.to_bytes(8, "big"))
        mac.update(header)
        mac.update(payload)
        return mac.digest()[:TAG_SIZE]


NEAR, FAR = b"near", b"far "  # who sends a frame


class LinkError(Exception):
    """The peer broke the protocol or refused. This ends the link, but not the connection."""


class Budget:
    """The limit on the bytes in all windows of a process together."""

    def __init__(self, total: int = WINDOWS_MAX) -> None:
        self.left = total


class Stream:
    """One end of a connection: what it sent and received, and what the peer confirmed. It outlives its links.

    Offsets count the bytes of one direction from its start. The end of a direction counts as one more byte.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.reserved = 0
        self.base = 0  # the peer confirmed everything before this offset
        self.next = 0  # the offset of the next byte from the inner connection
        self.sent = 0  # everything before this offset was sent to the peer at least once
        self.held: deque[tuple[int, bytes]] = deque()  # unconfirmed data: offset and bytes
        self.closed = False  # the inner connection will send no more
        self.got = 0  # bytes that came from the peer, in order
        self.undelivered: deque[Buffer] = deque()
        self.undelivered_size = 0
        self.peer_closed = False
        self.end_delivered = False
        self.deaf = False  # the inner connection accepts no more data, so data for it is dropped
        self.counter = 0  # the counter of the newest attach
        self.link: Link | None = None

    @property
    def unconfirmed(self) -> int:
        """How many bytes from the inner connection the peer has not confirmed."""
        return self.next - min(self.base, self.next)

    @property
    def delivered(self) -> int:
        """The offset up to which the inner connection took everything. This end acknowledges that offset."""
        return self.got - self.undelivered_size + self.end_delivered

    @property
    def done(self) -> bool:
        """Whether both directions ended, and both ends have everything."""
        return self.closed and self.base == self.next + 1 and self.end_delivered

    def room(self) -> int:
        """Return how many bytes may be read from the inner connection now."""
        if self.closed or len(self.held) >= HELD_MAX:
            return 0
        room = (self.link.window if self.link else AWAY_MAX) - (self.next - self.base)
        return min(room, READ_MAX) if room >= ROOM_MIN else 0

    def take(self, data: bytes) -> None:
        """Take bytes that the inner connection sent. Empty bytes mean that it sends no more."""
        if self.closed:
            return
        if not data:
            self.closed = True
            return
        if self.link:
            self.link.pending.append((self.next, data))
        elif self.held and len(self.held[-1][1]) < SMALL:
            offset, before = self.held.pop()
            self.held.append((offset, before + data))
            self.next += len(data)
            return
        self.held.append((self.next, data))
        self.next += len(data)

    def confirm(self, offset: int) -> None:
        """Drop the data that the peer confirms. Raise LinkError if it confirms data that was never sent."""
        if offset > self.sent:
            raise LinkError("confirmed-unsent")
        self.base = max(self.base, offset)
        while self.held and self.held[0][0] + len(self.held[0][1]) <= self.base:
            self.held.popleft()

    def accept(self, offset: int, payload: memoryview) -> None:
        """Take bytes from the peer, and skip those that are known already. Raise LinkError if there is a gap."""
        known = self.got - offset
        if known < 0:
            raise LinkError("bytes-missing")
        fresh = len(payload) - known
        if fresh <= 0:
            return
        if self.peer_closed:
            raise LinkError("bytes-after-end")
        if self.undelivered_size + fresh > UNDELIVERED_MAX:
            raise LinkError("flood")
        self.got += fresh
        if self.deaf:
            return
        self.undelivered.append(payload[known:])
        self.undelivered_size += fresh

    def accept_end(self, offset: int) -> None:
        """Note that the peer sends no more data. Raise LinkError if `offset` is not the end of the received bytes."""
        if offset != self.got:
            raise LinkError("end-elsewhere")
        self.peer_closed = True

    def took(self, size: int) -> None:
        """Note how many of the undelivered bytes the inner connection took."""
        self.undelivered_size -= size
        if not self.undelivered_size:
            self.undelivered.clear()
            return
        while size:
            first = self.undelivered.popleft()
            if len(first) > size:
                self.undelivered.appendleft(memoryview(first)[size:])
                return
            size -= len(first)

    def settle(self) -> None:
        """Copy the undelivered data, because its buffer is about to be reused."""
        fresh: list[Buffer] = []
        while self.undelivered and type(self.undelivered[-1]) is memoryview:
            fresh.append(self.undelivered.pop())
        if fresh and self.undelivered and len(self.undelivered[-1]) < SMALL:
            fresh.append(self.undelivered.pop())
        if fresh:
            self.undelivered.append(b"".join(reversed(fresh)))

    def stop_listening(self) -> None:
        """Note that the inner connection accepts no more data."""
        self.deaf = True
        self.undelivered.clear()
        self.undelivered_size = 0

    def reserve(self, size: int) -> int:
        """Change this connection's share of the budget to `size`, as far as possible. Return the new share."""
        more = min(size - self.reserved, self.budget.left)
        self.budget.left -= more
        self.reserved += more
        return self.reserved


class Link:
    """One link of a stream, from its attach to its loss.

    The caller passes received bytes to `receive`, writes what `gather` returns, and reports to `wrote` how much of that
    was written. A subclass implements `handshake`: the frames before the link is live. With a seal, the link tags each
    frame that it sends, and processes no frame without a valid tag.
    """

    sender, peer = NEAR, FAR

    def __init__(self, stream: Stream, seal: Seal | None = None) -> None:
        self.stream = stream
        self.seal = seal
        self.counter = 0  # of this link's attach
        self.version = OLDEST  # of the protocol that both ends speak
        self.live = False
        self.lost: str | None = None  # why this link ended
        self.over: str | None = None  # why the peer ended the connection
        self.control: list[Buffer] = []  # frames to send before any data
        self.rest: list[Buffer] = []  # the rest of an incomplete write
        self.pending: deque[tuple[int, bytes]] = deque()
        self.at = 0  # the offset of the next byte to send on this link
        self.early = 0  # before it is live, the link may send up to this offset
        self.end_sent = False
        self.coming = 0  # how many bytes of the current data frame have not arrived yet
        self.coming_at = 0  # the offset of the first of them
        self.ack_each = ACK_EACH
        self.acked = 0  # the offset that we last acknowledged to the peer
        self.acked_at = 0.0  # when that was
        self.ack_due = False
        self.ack_at: float | None = None
        self.window = WINDOW_START
        self.min_rtt_s = 0.0
        self.timed: tuple[int, float] | None = None  # an offset, and when the byte before it was sent
        self.sent_at = 0.0  # when the last byte was sent

    # -- receiving ----------------------------------------------------------------------------------

    def receive(self, data: memoryview, now: float) -> int:
        """Process the frames in `data`. Raise LinkError for an invalid frame.

        Return how many bytes were processed: all but the beginning of a header or of a frame that is not DATA.
        """
        at, size = 0, len(data)
        if self.coming:
            at = self._accept(data, 0, size)
        while size - at >= HEADER.size and self.over is None:
            length, kind, flags, zero, offset = HEADER.unpack_from(data, at)
            if self.seal is not None:
                stop = at + HEADER.size + TAG_SIZE + length
                self._check_header(length, kind, flags, zero)
                if stop > size:
                    break
                self._receive_tagged(kind, offset, data[at:stop], now)
                at = stop
                continue
            if length > PAYLOAD_MAX or zero or flags > 1:
                raise LinkError("malformed")
            if kind == DATA and self.live:
                self.ack_each = ACK_EACH_ROOMY if flags & RARE else ACK_EACH
                self.coming, self.coming_at = length, offset
                at = self._accept(data, at + HEADER.size, size)
                continue
            stop = at + HEADER.size + length
            if stop > size:
                break
            self._process(kind, offset, flags, data[at + HEADER.size : stop], now)
            at = stop
        return at

    def _check_header(self, length: int, kind: int, flags: int, zero: int) -> None:
        """Check a tagged frame's header, before its payload takes memory. Raise LinkError."""
        if length > PAYLOAD_MAX or zero or flags & ~1 != TAGGED:
            raise LinkError("malformed")
        if not self.live and (kind, length) not in {(ATTACH, HELLO.size), (ATTACHED, WELCOME.size)}:
            raise LinkError("malformed")

    def _receive_tagged(self, kind: int, offset: int, whole: memoryview, now: float) -> None:
        """Process a complete tagged frame. Raise LinkError if its tag is wrong."""
        begin = HEADER.size + TAG_SIZE
        header, tag, payload = whole[: HEADER.size], whole[HEADER.size : begin], whole[begin:]
        counter = HELLO.unpack(payload)[4] if kind == ATTACH and not self.live else self.counter
        if self.seal is None or not same(self.seal.tag(self.peer, counter, header, payload), bytes(tag)):
            raise LinkError("tag")
        flags = header[5] & ~TAGGED
        if kind == DATA:
            self.ack_each = ACK_EACH_ROOMY if flags & RARE else ACK_EACH
            self.stream.accept(offset, payload)
        else:
            self._process(kind, offset, flags, payload, now)

    def framed(self, kind: int, offset: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Return the bytes of a frame for this link."""
        return self._header(kind, offset, payload, flags) + payload

    def _header(self, kind: int, offset: int, payload: Buffer, flags: int) -> bytes:
        """Return what comes before the payload of a frame: its header, and with a seal its tag."""
        if self.seal is None:
            return HEADER.pack(len(payload), kind, flags, 0, offset)
        header = HEADER.pack(len(payload), kind, flags | TAGGED, 0, offset)
        return header + self.seal.tag(self.sender, self.counter, header, payload)

    def _process(self, kind: int, offset: int, flags: int, payload: memoryview, now: float) -> None:
        """Process a complete frame that is not DATA of a live link."""
        if payload and kind in {ACK, END}:
            raise LinkError("malformed")
        if kind == BYE:
            self._bye(flags, bytes(payload))
        elif not self.live:
            self.handshake(kind, offset, bytes(payload))
        elif kind == ACK:
            self._acknowledged(offset, bool(flags & LATE), now)
        elif kind == END:
            self.stream.accept_end(offset)
        else:
            raise LinkError("malformed")

    def _accept(self, data: memoryview, at: int, size: int) -> int:
        """Take what `data` has of the current data frame from `at` on; return the index behind it."""
        stop = min(size, at + self.coming)
        self.stream.accept(self.coming_at, data[at:stop])
        self.coming -= stop - at
        self.coming_at += stop - at
        return stop

    def handshake(self, kind: int, offset: int, payload: bytes) -> None:
        """Process a frame before the link is live. Raise LinkError for an unexpected frame."""
        raise NotImplementedError

    def go_live(self, peer_has: int) -> None:
        """Become the stream's link, and prepare to send what the peer lacks.

        The peer has everything before the offset `peer_has`. Raise LinkError if it cannot have that much.
        """
        stream = self.stream
        stream.confirm(peer_has)
        if stream.link:
            stream.link.lose("replaced")
        stream.link, self.live = self, True
        self.at = min(max(self.at, stream.base), stream.next)
        self.pending = deque(one for one in stream.held if one[0] + len(one[1]) > self.at)
        stream.reserve(max(self.window, stream.unconfirmed))

    def lose(self, why: str) -> None:
        """End this link; the stream waits for the next one."""
        self.lost = self.lost or why
        if self.stream.link is self:
            self.stream.link = None

    def _bye(self, flags: int, payload: bytes) -> None:
        why = (
            "".join(c for c in payload[:60].decode("ascii", "replace") if c.isalnum() or c == "-")
            or "no-reason"
        )
        if flags & FINAL and self.live:
            self.over = why
        else:
            raise LinkError(why)

    def _acknowledged(self, offset: int, late: bool, now: float) -> None:
        stream = self.stream
        full = stream.unconfirmed * 4 >= self.window * 3
        stream.confirm(offset)
        if self.timed is None or offset < self.timed[0]:
            return
        # The timer's wait is no part of the round trip, so subtract it. Late acknowledgements must count, because they
        # come while the line is quiet. Without them, the first measured round trip would be slowed by our own upload.
        rtt_s = max(0.0001, now - self.timed[1] - (ACK_AFTER_S if late else 0.0))
        self.timed = None
        if late and offset >= self.at:
            # Each byte restarts the peer's timer. So the pauses of a dialogue, such as a login, do not count.
            rtt_s = max(0.0001, min(rtt_s, now - self.sent_at - ACK_AFTER_S))
        self.min_rtt_s = min(self.min_rtt_s or rtt_s, rtt_s)
        if not full:  # the acknowledgement may have waited for data to go with
            return
        if rtt_s > LAG * self.min_rtt_s + LAG_SLACK_S:
            self.window = max(WINDOW_MIN, self.window * 3 // 4)
            stream.reserve(self.window)
        elif not late:
            wanted = min(WINDOW_MAX, self.window * 3 // 2)
            self.window = max(self.window, min(wanted, stream.reserve(wanted)))

    # -- sending ------------------------------------------------------------------------------------

    def delivered(self, now: float) -> None:
        """Schedule an acknowledgement, because the inner connection may have taken data."""
        lacks = self.stream.delivered - self.acked
        if not self.live or not lacks:
            return
        each = self.ack_each if now < self.acked_at + ACK_ROOMY_S else ACK_EACH
        if each == ACK_EACH_ROOMY and now < self.acked_at + ACK_FAST_S:
            each = ACK_EACH_FAST
        self.ack_due = self.ack_due or lacks >= each or self.stream.end_delivered
        self.ack_at = None if self.ack_due else now + ACK_AFTER_S

    def tick(self, now: float) -> None:
        """Mark a scheduled acknowledgement as due if its time has come."""
        if self.ack_at is not None and now >= self.ack_at:
            self.ack_due = True

    def waiting(self) -> bool:
        """Report whether there is something to write."""
        if self.rest or self.control or (self.pending and self.at < self._limit()):
            return True
        return self.live and (self.ack_due or (self.stream.closed and self._end_is_next()))

    def gather(self, now: float) -> list[Buffer]:
        """Return the next buffers to write, about as much as one call can take; `wrote` must follow."""
        bufs = self.rest + self.control
        self.control = []
        size = sum(map(len, bufs)) if bufs else 0
        stream, pending = self.stream, self.pending
        limit = self._limit()
        answers = bool(pending) and self.at < limit and self.acked < stream.delivered
        if self.live and (self.ack_due or answers):  # beside data, an acknowledgement costs nothing
            self.acked, self.acked_at = stream.delivered, now
            late = self.ack_due and self.ack_at is not None
            bufs.append(self.framed(ACK, self.acked, flags=LATE if late else 0))
            self.ack_due, self.ack_at = False, None
        flags = RARE if self.window >= ROOMY else 0
        large = self.seal is None or (flags and self.version >= LARGE_TAGGED)
        payload_max = PAYLOAD_MAX if large else TAGGED_PAYLOAD_MAX
        at = self.at
        while pending and size < BURST and len(bufs) < BUFFERS_MAX and at < limit:
            offset, data = pending[0]
            begin = at - offset
            stop = min(len(data), limit - offset, begin + payload_max)
            if stop == len(data):
                pending.popleft()
            piece = data if stop - begin == len(data) else memoryview(data)[begin:stop]
            bufs += [self._header(DATA, at, piece, flags), piece]
            at = offset + stop
            size += stop - begin
            if self.timed is None and self.live:
                self.timed = at, now
        if at != self.at:
            self.at, self.sent_at = at, now
        if stream.closed and self.live and self._end_is_next():
            bufs.append(self.framed(END, stream.next))
            self.end_sent = True
        stream.sent = max(stream.sent, self.at + self.end_sent)
        return bufs

    def wrote(self, bufs: list[Buffer], size: int) -> None:
        """Keep the rest of `bufs` after a write that took `size` bytes."""
        if size == sum(map(len, bufs)):
            self.rest = []
            return
        for number, one in enumerate(bufs):
            if size < len(one):
                self.rest = [memoryview(one)[size:], *bufs[number + 1 :]]
                return
            size -= len(one)
        self.rest = []

    def bye(self, why: str, *, final: bool) -> None:
        """Queue a goodbye: for this link, or if `final` for the whole connection."""
        self.control.append(self.framed(BYE, 0, why.encode(), FINAL if final else 0))

    def _limit(self) -> int:
        return self.stream.base + self.window if self.live else self.early

    def _end_is_next(self) -> bool:
        stream = self.stream
        return stream.closed and not self.end_sent and not self.pending and stream.base <= stream.next


# -- moving bytes between descriptors -----------------------------------------------------------------------

READ = select.POLLIN
FAILED = select.POLLERR | select.POLLHUP | select.POLLNVAL
ONCE = 2  # read one descriptor at most this often before the others are read
DAY_S = 86_400.0
PIPE_SIZE = 1031  # F_SETPIPE_SZ of fcntl(2); Python has the constant only since 3.10


def clock() -> float:
    """Return monotonic seconds. If the system has such a clock, it also counts while the machine sleeps."""
    return time.clock_gettime(BOOTTIME) if BOOTTIME is not None else time.monotonic()


BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Loop:
    """A loop that waits for descriptors and deadlines. Without a deadline, it sleeps until an event."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.masks: dict[int, int] = {}
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.buffer = memoryview(bytearray(BURST + PAYLOAD_MAX + HEADER.size + TAG_SIZE))
        self.whole = [self.buffer[:BURST]]

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call the handler with poll's events for this descriptor. A mask of 0 stops watching it."""
        if mask == self.masks.get(fd, 0):
            return
        if not mask:
            self.forget(fd)
            return
        self.masks[fd], self.handlers[fd] = mask, handler
        self.poll.register(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor; call it before the descriptor is closed."""
        if self.masks.pop(fd, None) is not None:
            del self.handlers[fd]
            self.poll.unregister(fd)

    def turn(self, deadline: float | None) -> None:
        """Wait for the next event or deadline, and call its handlers."""
        wait_ms = None
        if deadline is not None:
            wait_ms = 1 + int(1000 * min(DAY_S, max(0.0, deadline - clock())))
        for fd, events in self.poll.poll(wait_ms):
            handler = self.handlers.get(fd)  # an earlier handler may have closed this descriptor
            if handler is not None:
                handler(events)


class Wire:
    """A link and its descriptors. `keep`: further descriptors that must stay open, such as the mux client's."""

    def __init__(self, link: Link, incoming: int, outgoing: int, keep: tuple[int, ...] = ()) -> None:
        self.link = link
        self.incoming, self.outgoing, self.keep = incoming, outgoing, keep
        self.since = clock()
        self.leftover = b""  # the beginning of an incomplete frame
        self.full = False  # the last write was incomplete, and the system has not reported room since
        self.handler: Callable[[int], None] = lambda _events: None
        for fd in (incoming, outgoing):
            os.set_blocking(fd, False)
            enlarge(fd)

    def close(self, loop: Loop) -> None:
        """Close all descriptors."""
        for fd in {self.incoming, self.outgoing, *self.keep}:
            loop.forget(fd)
            os.close(fd)


def enlarge(fd: int) -> None:
    """Enlarge the buffer of a pipe: sshd's pipes have 64 KiB, too little for one read or write of a relay."""
    if sys.platform == "linux":
        try:
            fcntl.fcntl(fd, PIPE_SIZE, BURST)
        except OSError:
            pass  # it is not a pipe, or the user's limit is lower


class Session:
    """Moves bytes between an inner connection and its links. Nothing in it blocks.

    The two relays override `link_lost`, `link_live`, `done` and `finish`.
    """

    def __init__(self, loop: Loop, stream: Stream) -> None:
        self.loop, self.stream = loop, stream
        self.inner: int | None = None
        self.inner_full = False  # the last write was incomplete, and the system has not reported room since
        self.wires: list[Wire] = []
        self.away_since: float | None = clock()
        self.finished: str | None = None
        self.arrived = 0  # bytes of a bulk transfer that came through the link, without those after a pause
        self.arrived_at = 0.0  # when the last of them came
        self.hold_after = HOLD_AFTER
        self.holding = False  # whether the inner connection is not read until an acknowledgement is due

    def link_lost(self, wire: Wire, why: str) -> None:
        """React to the end of a link."""

    def link_live(self, wire: Wire) -> None:
        """React to a link that carries the connection from now on."""

    def done(self) -> None:
        """React when both directions have ended and both ends have everything."""

    def finish(self, why: str) -> None:
        """End the connection and close everything."""
        if self.finished is None:
            self.finished = why
            self.close_inner()
            for wire in list(self.wires):
                self.drop(wire, "over")
            self.stream.reserve(0)

    def add(self, wire: Wire) -> None:
        """Start using a link."""
        wire.handler = lambda events: self._on_wire(wire, events)
        self.wires.append(wire)
        self.pump()

    def drop(self, wire: Wire, why: str) -> None:
        """Close a link."""
        if wire not in self.wires:
            return
        self.wires.remove(wire)
        wire.link.lose(why)
        wire.close(self.loop)
        if self.stream.link is None:
            self.holding = False
            if self.away_since is None:
                self.away_since = clock()
        self.link_lost(wire, wire.link.lost or why)

    def set_inner(self, fd: int) -> None:
        """Use this descriptor, a stream socket, as the inner connection."""
        os.set_blocking(fd, False)
        self.inner, self.inner_full = fd, False

    def close_inner(self) -> None:
        """Close the inner connection. Both directions of it end."""
        if self.inner is not None:
            self.loop.forget(self.inner)
            os.close(self.inner)
            self.inner = None
        self.stream.take(b"")
        self.stream.stop_listening()

    @property
    def deadline(self) -> float | None:
        """When `tick` is due, None if there is nothing to wait for."""
        link = self.stream.link
        at = None if link is None or link.ack_due else link.ack_at
        if self.holding:
            pause_at = self.arrived_at + HOLD_S
            return pause_at if at is None or pause_at < at else at
        return at

    def tick(self, now: float) -> None:
        """Act on each deadline that has passed."""
        link = self.stream.link
        if self.holding and now >= self.arrived_at + HOLD_S:
            self.loop.turn(now)  # data may have come while this process waited for a processor
            if now >= self.arrived_at + HOLD_S:
                self._read_held(paused=True)
                self.pump()
        if link and link.ack_at is not None and now >= link.ack_at:
            link.tick(now)
            self.pump()

    # -- the inner connection -----------------------------------------------------------------------

    def _on_inner(self, events: int) -> None:
        try:
            if events & (select.POLLOUT | FAILED):
                self.inner_full = False
                self._deliver()
            if events & (READ | FAILED):
                self._read_inner()
            self.pump()
        except Exception:  # a bug in this program must end this connection only
            sys.excepthook(*sys.exc_info())
            self.finish("internal")

    def _read_inner(self) -> None:
        for _ in range(ONCE):
            room = self.stream.room()
            if not room or self.inner is None:
                return
            try:
                data = os.read(self.inner, room)
            except BlockingIOError:
                return
            except OSError:
                self.close_inner()
                return
            self.stream.take(data)
            if len(data) < room:
                return

    def _deliver(self, now: float | None = None) -> None:
        stream = self.stream
        waiting = stream.undelivered
        while waiting and self.inner is not None and not self.inner_full:
            first = list(waiting if len(waiting) <= BUFFERS_MAX else islice(waiting, BUFFERS_MAX))
            try:
                size = os.writev(self.inner, first)
            except BlockingIOError:
                size = 0
            except OSError as error:
                if error.errno != errno.ENOTCONN:  # the socket is still connecting
                    stream.stop_listening()
                    break
                size = 0
            self.inner_full = size < stream.undelivered_size and size < sum(map(len, first))
            stream.took(size)
        if stream.peer_closed and not stream.undelivered and not stream.end_delivered:
            stream.end_delivered = True
            self._shut_inner()
        if stream.link:
            stream.link.delivered(clock() if now is None else now)

    def _shut_inner(self) -> None:
        if self.inner is None:
            return
        if self.stream.closed:
            self.close_inner()
            return
        twin = socket.socket(fileno=os.dup(self.inner))
        try:
            twin.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the inner connection is gone; the next read will report that
        finally:
            twin.close()

    # -- links --------------------------------------------------------------------------------------

    def _on_wire(self, wire: Wire, events: int) -> None:
        if wire not in self.wires:
            return
        try:
            if events & (select.POLLOUT | FAILED):
                wire.full = False
            if events & (READ | FAILED):
                self._read_wire(wire)
            self.pump()
        except Exception:  # a bug in this program must end this link only; the next link may work
            sys.excepthook(*sys.exc_info())
            self.drop(wire, "internal")
            self.pump()

    def _read_wire(self, wire: Wire) -> None:
        buffer, kept = self.loop.buffer, len(wire.leftover)
        if kept:
            buffer[:kept] = wire.leftover
        try:
            size = os.readv(wire.incoming, [buffer[kept : kept + BURST]] if kept else self.loop.whole)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.drop(wire, "closed")
            return
        link, now, end = wire.link, clock(), kept + size
        was_live = link.live
        try:
            used = link.receive(buffer[:end], now)
        except LinkError as error:
            self.refuse(wire, str(error))
            return
        finally:
            self._deliver(now)
            if self.stream.undelivered:
                self.stream.settle()
        wire.leftover = bytes(buffer[used:end]) if used < end else b""
        if size >= HOLD_READ_MIN or self.holding:
            self._hold(link, size, now)
        if link.live and not was_live:
            self.away_since = None
            self.link_live(wire)
        if link.over:
            self.finish(link.over)

    def _hold(self, link: Link, size: int, now: float) -> None:
        """Decide after a read whether the inner connection waits. If an acknowledgement is due, read it now."""
        if now < self.arrived_at + HOLD_S:
            self.arrived += size
        self.arrived_at = now
        if self.arrived < self.hold_after or link.ack_each != ACK_EACH_ROOMY:
            return
        if self.holding and link.ack_due:
            self._read_held(paused=False)
        else:
            self.holding = True

    def _read_held(self, *, paused: bool) -> None:
        """Read what the inner connection sent meanwhile. Wait less often if its program may need it sooner.

        A program that waits for an answer to each message sends nothing while the answer waits here. Then there is a
        pause, and an answer to read.
        """
        before = self.stream.next
        self._read_inner()
        sent = self.stream.next - before
        if sent > HOLD_SMALL:
            self.hold_after = HOLD_AFTER_MAX
        elif paused and sent:
            self.hold_after = min(HOLD_AFTER_MAX, 2 * self.hold_after)
        elif not paused:
            self.hold_after = HOLD_AFTER
        if paused or sent > HOLD_SMALL:
            self.holding, self.arrived = False, 0

    def refuse(self, wire: Wire, why: str) -> None:
        """Close a link on which the peer sent invalid data. Notify the peer if that does not block.

        Strangers at a TCP port get no answer.
        """
        if not wire.link.rest and (wire.link.live or wire.link.seal is None):
            self.farewell(wire, why, final=False)
        self.drop(wire, why)

    def farewell(self, wire: Wire, why: str, *, final: bool) -> None:
        """Write a goodbye if that does not block."""
        wire.link.bye(why, final=final)
        try:
            os.writev(wire.outgoing, wire.link.rest + wire.link.control)
        except OSError:
            pass  # without a goodbye, the peer notices the end of the link

    def pump(self) -> None:
        """Write as much as possible, and watch for the next chance to read or write."""
        if self.finished is not None:
            return
        for wire in list(self.wires):
            if wire.link.lost:
                self.drop(wire, wire.link.lost)
            else:
                self._flush(wire)
        if self.stream.done:
            self.done()
        if self.finished is None:
            self._watch()

    def _flush(self, wire: Wire) -> None:
        link = wire.link
        while not wire.full and link.waiting() and link.lost is None:
            bufs = link.gather(clock())
            try:
                size = os.writev(wire.outgoing, bufs)
            except BlockingIOError:
                size = 0
            except OSError:
                self.drop(wire, "closed")
                return
            link.wrote(bufs, size)
            wire.full = bool(link.rest)

    def _watch(self) -> None:
        stream, loop = self.stream, self.loop
        masks = loop.masks  # a call of `watch` for each turn would take longer
        if self.inner is not None:
            mask = (READ if not self.holding and stream.room() else 0) | (
                select.POLLOUT if stream.undelivered else 0
            )
            if mask != masks.get(self.inner, 0):
                loop.watch(self.inner, mask, self._on_inner)
        for wire in self.wires:
            mask = select.POLLOUT if wire.link.waiting() else 0
            if wire.outgoing == wire.incoming:
                mask |= READ
            elif masks.get(wire.incoming) != READ:
                loop.watch(wire.incoming, READ, wire.handler)
            if mask != masks.get(wire.outgoing, 0):
                loop.watch(wire.outgoing, mask, wire.handler)


# -- the far relay ------------------------------------------------------------------------------------------

MARKER = "TRAYAGENT-ROAM"
"""Begins the line that each command prints, because start-up files of the shell may print other lines before it."""
FIRST_ATTACH_S = 120.0  # a relay ends if no attach comes within this time
PENDING_MAX = 4  # connections that have not attached yet; if there are more, drop the oldest
PENDING_S = 30.0
STRANGERS_MAX = 16  # the same for connections to the TCP port, which anyone can open
STRANGERS_S = 10.0
BACKLOG = 128  # so that the kernel drops no SYN of the laptop while many strangers connect
PORTS_MAX = 1000
RELAYS_MAX = 32  # for one user on one machine
ANSWER_S = 5.0
LINE_MAX = 4 * KIB


class Failure(Exception):  # noqa: N818  # the name says what happened
    """A command failed. The message is a code that the near relay knows."""


class FarLink(Link):
    """The far relay's end of a link. It must begin with an attach that has the token, or with a seal a valid tag."""

    sender, peer = FAR, NEAR

    def __init__(self, relay: FarRelay, seal: Seal | None = None) -> None:
        super().__init__(relay.stream, seal)
        self.relay = relay

    def handshake(self, kind: int, offset: int, payload: bytes) -> None:
        """Accept an attach that has the secret and a higher counter than the last one."""
        if kind != ATTACH or len(payload) != HELLO.size:
            raise LinkError("malformed")
        magic, newest, oldest, zero, counter, name, secret = HELLO.unpack(payload)
        if magic != MAGIC or zero:
            raise LinkError("malformed")
        if not same(self.relay.token, name + b"." + (secret if self.seal is None else self.relay.token[17:])):
            raise LinkError("token")
        if oldest > VERSION or newest < OLDEST:
            raise LinkError("version")
        if counter <= self.stream.counter:
            raise LinkError("older-attach")
        if self.seal is not None and not self.stream.counter:
            raise LinkError("token")  # the first attach comes by a channel, since it reports the machine
        self.relay.connect()
        self.go_live(offset)
        self.stream.counter = self.counter = counter
        self.acked, self.version = self.stream.delivered, min(newest, VERSION)
        welcome = WELCOME.pack(self.version, 0, 0, counter)
        self.control.append(self.framed(ATTACHED, self.acked, welcome))


class Caller:
    """A process that connected to the relay's socket and whose request is incomplete."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.since = sock, clock()
        self.line = b""
        self.fds: list[int] = []

    def close(self, loop: Loop) -> None:
        """Close the process's connection and the descriptors that it passed."""
        loop.forget(self.sock.fileno())
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class FarRelay(Session):
    """One far relay: its socket, and the connection to sshd that it keeps open."""

    def __init__(
        self,
        listener: socket.socket,
        path: str,
        token: bytes,
        sshd: tuple[str, int],
        labels: Any,
        port: socket.socket | None = None,
    ) -> None:
        super().__init__(Loop(), Stream())
        self.listener, self.path, self.token, self.sshd, self.labels = listener, path, token, sshd, labels
        self.roam_for_s = float(labels["roam_for"])
        self.born = clock()
        self.callers: list[Caller] = []
        listener.setblocking(False)
        self.loop.watch(listener.fileno(), READ, lambda _: self._accept())
        self.port, self.seal = port, None if port is None else Seal(token)
        if port is not None:
            port.setblocking(False)
            self.loop.watch(port.fileno(), READ, lambda _: self._accept_stranger())

    def run(self) -> None:
        """Serve until the connection ends."""
        try:
            while self.finished is None:
                due = self._next()
                if due is not None and clock() >= due:
                    self._expire(clock())
                    self.tick(clock())
                    if self.finished is not None:
                        break
                    due = self._next()
                self.loop.turn(due)
        finally:
            try:
                os.unlink(self.path)
            except OSError:
                pass  # the system removes the folder after the user's last login

    def connect(self) -> None:
        """Connect to sshd, for the first attach. Raise LinkError if it does not answer."""
        if self.inner is not None or self.stream.counter:
            return
        try:
            # This may block, because the relay serves nothing else before the first attach.
            inner = socket.create_connection(self.sshd, ANSWER_S)
        except OSError:
            raise LinkError("no-sshd") from None
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.set_inner(inner.detach())

    def done(self) -> None:
        """End once the last acknowledgement is written. Without the goodbye, the near relay would attach again."""
        link = self.stream.link
        if link is None or (link.acked == self.stream.delivered and not link.rest):
            self.finish("closed")

    def finish(self, why: str) -> None:
        """Send a goodbye through the live link, and end."""
        for wire in self.wires:
            if wire.link.live and self.finished is None and not wire.link.over:
                self.farewell(wire, why, final=True)
        super().finish(why)
        for caller in list(self.callers):
            self._forget(caller)
        for one in (self.listener, self.port):
            if one is not None:
                self.loop.forget(one.fileno())
                one.close()
        self.port = None

    # -- time -----------------------------------------------------------------------------------------

    def _limit(self) -> float | None:
        if not self.stream.counter:
            return self.born + FIRST_ATTACH_S
        return None if self.away_since is None else self.away_since + self.roam_for_s

    def _next(self) -> float | None:
        if self.stream.link is not None and len(self.wires) == 1 and not self.callers:
            return self.deadline  # the most frequent case
        times = [self._limit(), self.deadline]
        if self.callers:
            times += [caller.since + PENDING_S for caller in self.callers]
        if len(self.wires) > 1 or self.stream.link is None:  # otherwise the only link is live
            times += [wire.since + self._patience_s(wire) for wire in self.wires if not wire.link.live]
        return min((at for at in times if at is not None), default=None)

    @staticmethod
    def _patience_s(wire: Wire) -> float:
        """How long a link may wait before its attach."""
        return PENDING_S if wire.link.seal is None else STRANGERS_S

    def _expire(self, now: float) -> None:
        limit = self._limit()
        if limit is not None and now >= limit:
            self.finish("expired")
            return
        for caller in list(self.callers):
            if now >= caller.since + PENDING_S:
                self._forget(caller)
        for wire in list(self.wires):
            if not wire.link.live and now >= wire.since + self._patience_s(wire):
                self.drop(wire, "silent")

    # -- the TCP port -----------------------------------------------------------------------------------

    def _accept_stranger(self) -> None:
        """Accept a connection to the TCP port. It becomes a link if a valid attach comes in time."""
        if self.port is None:
            return
        try:
            sock = self.port.accept()[0]
        except OSError:
            return
        strangers = self._waiting(tagged=True)
        if len(strangers) >= STRANGERS_MAX:
            self.drop(strangers[0], "crowded")
        use_for_link(sock)
        fd = sock.detach()
        self.add(Wire(FarLink(self, self.seal), fd, fd))

    def _waiting(self, *, tagged: bool) -> list[Wire]:
        """Return the links that have not attached yet, the oldest first."""
        return [wire for wire in self.wires if not wire.link.live and (wire.link.seal is not None) == tagged]

    # -- the socket -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            sock = self.listener.accept()[0]
        except OSError:
            return
        if is_other_user(sock):
            sock.close()
            return
        sock.setblocking(False)
        caller = Caller(sock)
        self.callers.append(caller)
        if len(self.callers) > PENDING_MAX:
            self._forget(self.callers[0])
        self.loop.watch(sock.fileno(), READ, lambda _: self._hear(caller))

    def _forget(self, caller: Caller) -> None:
        self.callers.remove(caller)
        caller.close(self.loop)

    def _hear(self, caller: Caller) -> None:
        try:
            # Read only the line of the request: after a `link` request, the next bytes belong to the link.
            waiting = caller.sock.recv(LINE_MAX, socket.MSG_PEEK)
            said, fds = receive_fds(caller.sock, waiting.find(b"\n") + 1 or LINE_MAX, 2)
        except BlockingIOError:
            return
        except OSError:
            said, fds = b"", []
        caller.fds += fds
        caller.line += said
        if not said or len(caller.line) > LINE_MAX or len(caller.fds) > 2:
            self._forget(caller)
            return
        if caller.line.endswith(b"\n"):
            self._obey(caller)

    def _obey(self, caller: Caller) -> None:
        try:
            order = json.loads(caller.line.decode())
            todo, token = order["do"], str(order.get("token", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._forget(caller)
            return
        if todo == "attach" and len(caller.fds) == 2:
            self._attach(caller)
            return
        if todo == "link":
            self._link(caller)
            return
        ends = todo == "end" and same(self.token, token.encode())
        self._answer(caller, self.report() if ends or todo == "list" else {"error": "token"})
        self._forget(caller)
        if ends:
            self.finish("ended")

    def _answer(self, caller: Caller, words: dict[str, Any]) -> None:
        try:
            caller.sock.send(json.dumps(words).encode() + b"\n")
        except OSError:
            pass  # the caller left before the answer

    def _link(self, caller: Caller) -> None:
        """Use the caller's connection to the socket as a link."""
        self._release(caller)
        try:
            caller.sock.send(marked(id=self.labels["id"]))
        except OSError:
            caller.sock.close()
            return
        fd = caller.sock.detach()
        self.add(Wire(FarLink(self), fd, fd))

    def _release(self, caller: Caller) -> None:
        """Remove a caller from the list, because its request is complete. Make room for its link."""
        self.callers.remove(caller)
        self.loop.forget(caller.sock.fileno())
        waiting = self._waiting(tagged=False)
        if len(waiting) >= PENDING_MAX:
            self.drop(waiting[0], "crowded")

    def _attach(self, caller: Caller) -> None:
        self._release(caller)
        wire = Wire(FarLink(self), caller.fds[0], caller.fds[1], (caller.sock.detach(),))
        # The end of the caller's connection shows that the caller has ended. The passed descriptors do not show that.
        self.loop.watch(wire.keep[0], READ, lambda _: self._hung_up(wire))
        self.add(wire)

    def _hung_up(self, wire: Wire) -> None:
        self.drop(wire, "closed")
        self.pump()

    def report(self) -> dict[str, Any]:
        """Return what `list` prints about this relay."""
        stream = self.stream
        away_s = None if self.away_since is None else round(clock() - self.away_since)
        return {
            **self.labels,
            "pid": os.getpid(),
            "sent": stream.next,
            "received": stream.got,
            "attached": stream.link is not None,
            "away_s": away_s,
        }


def use_for_link(sock: socket.socket) -> None:
    """Prepare a TCP connection for a link: send at once, and notice after hours that the peer is gone, as sshd does."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def same(one: bytes, other: bytes) -> bool:
    """Report whether two secrets are equal, in a time that depends only on their length."""
    different = len(one) ^ len(other)
    for a, b in zip(one, other):
        different |= a ^ b
    return not different


def is_other_user(sock: socket.socket) -> bool:
    """Report whether the peer is certainly another user.

    If the system cannot tell, return False: then the modes of the folder and the socket protect us.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return False
    uid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, option, 12))[1]
    return bool(uid != os.geteuid())


def receive_fds(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Return bytes and the descriptors that came with them. Raise OSError if more than `most` descriptors came."""
    said, rights, flags, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * most))
    fds: list[int] = []
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack("%di" % (len(data) // 4), data[: len(data) // 4 * 4])
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise OSError(errno.EMSGSIZE, "too many descriptors")
    return said, fds


# -- machine and folders ------------------------------------------------------------------------------------


def read(path: str) -> str:
    """Return the first line of a file, "" if there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def machine_id() -> str:
    """Return an identifier of this machine. It differs for other machines with the same name."""
    found = (
        read("/etc/machine-id")
        or read("/var/lib/dbus/machine-id")
        or read("/etc/hostid")
        or os.uname().nodename
    )
    return "".join(c for c in found if c.isalnum() or c in "-_.")[:64].lstrip(".") or "unknown"


def boot_id() -> str:
    """Return an identifier of this boot of the machine, "" if the system has none."""
    found = read("/proc/sys/kernel/random/boot_id")
    if not found and sys.platform != "linux":
        with os.popen("sysctl -n kern.boottime 2>/dev/null") as answer:  # noqa: S605  # a constant command
            found = "".join(c for c in answer.read(80).partition("}")[0] if c.isdigit())
    return found


def namespace(kind: str) -> str:
    """Return an identifier of this process's namespace, "none" if the system has none, "" if it cannot be read."""
    if sys.platform != "linux":
        return "none"
    try:
        return os.readlink("/proc/self/ns/" + kind)
    except OSError:
        return ""


def folders() -> list[str]:
    """Return the folders that may hold this user's sockets on this machine. New sockets go to the first one."""
    found = []
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), "/run/user/%d" % os.geteuid()):
        if (
            os.path.isabs(base)
            and base not in found
            and os.path.isdir(base)
            and os.stat(base).st_uid == os.geteuid()
        ):
            found.append(base)
    places = [os.path.join(base, "trayagent") for base in found]
    return [*places, os.path.join(os.path.expanduser("~"), ".cache", "trayagent", machine_id())]


def is_private(folder: str) -> bool:
    """Report whether a folder exists, belongs to this user, and is closed to others."""
    try:
        info = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077


def identity(folder: str) -> str:
    """Return an identifier of a folder, which it keeps when it is moved. Return "" if it does not exist."""
    try:
        info = os.lstat(folder)
    except OSError:
        return ""
    return "%d:%d" % (info.st_dev, info.st_ino)


def make_folder() -> str:
    """Return the folder for new sockets; make it if needed. Raise Failure if others can use it, or OSError."""
    folder = folders()[0]
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not is_private(folder):
        raise Failure("unsafe-folder")
    return folder


def call(folder: str, name: str) -> socket.socket | None:
    """Return a connection to a socket. If no process listens there any more, remove the file and return None."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    try:
        os.chdir(folder)  # the folder's path may be longer than a socket's address may be
        sock.connect(name)
    except OSError as error:
        sock.close()
        if error.errno == errno.ECONNREFUSED:
            try:
                os.unlink(os.path.join(folder, name))
            except OSError:
                pass
        return None
    finally:
        os.chdir("/")
    return sock


def sockets() -> list[tuple[str, str]]:
    """Return the folder and the name of each relay's socket."""
    found = []
    for folder in folders():
        if is_private(folder):
            found += [(folder, name) for name in sorted(os.listdir(folder)) if is_socket_name(name)]
    return found


def not_found() -> Failure:
    """Return why a relay's socket was not found. In a folder that others can open, it was not looked for."""
    unsafe = any(identity(folder) and not is_private(folder) for folder in folders())
    return Failure("unsafe-folder" if unsafe else "unknown")


def is_socket_name(name: str) -> bool:
    """Report whether this is the file name of a relay's socket."""
    return name.endswith(".roam") and is_hex(name[: -len(".roam")], 16)


def is_hex(word: str, size: int) -> bool:
    """Report whether a word consists of this number of lower-case hexadecimal digits."""
    return len(word) == size and all(c in "0123456789abcdef" for c in word)


def ask(folder: str, name: str, order: dict[str, str]) -> dict[str, Any] | None:
    """Return the answer of a relay, None if it is gone or silent."""
    sock = call(folder, name)
    if sock is None:
        return None
    with sock:
        try:
            sock.sendall(json.dumps(order).encode() + b"\n")
            with sock.makefile("rb") as answer:
                found: dict[str, Any] = json.loads(answer.readline(LINE_MAX).decode())
                return found
        except (OSError, ValueError):
            return None


# -- commands -----------------------------------------------------------------------------------------------


def marked(**words: Any) -> bytes:
    """Return the line that a command prints: the marker, and JSON with this machine and these words."""
    where = {
        "machine": machine_id(),
        "boot": boot_id(),
        "pid_ns": namespace("pid"),
        "net_ns": namespace("net"),
    }
    found = {"v": VERSION, **where, **words}
    return ("%s %s\n" % (MARKER, json.dumps(found))).encode()


def say(**words: Any) -> None:
    """Print the line of a command with these words."""
    data = marked(**words)
    while data:
        data = data[os.write(1, data) :]


def read_token() -> bytes:
    """Return the token, which is the first line of stdin. Do not read beyond that line. Raise Failure."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 64:
        one = os.read(0, 1)
        if not one:
            break
        line += one
    name, _, secret = line.decode("ascii", "replace").strip().partition(".")
    if not is_hex(name, 16) or not is_hex(secret, 32):
        raise Failure("token")
    return line.strip()


def listen(address: str, ports: str) -> socket.socket | None:
    """Return a socket that listens on the first free port, None if none is free. Raise ValueError, Failure."""
    first, _, last = ports.partition("-")
    low, high = int(first), int(last or first)
    if not 1024 <= low <= high <= 65_535 or high - low >= PORTS_MAX:
        raise Failure("usage")
    for port in range(low, high + 1):
        try:
            found = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0]
            sock = socket.socket(found[0], socket.SOCK_STREAM)
        except OSError:
            return None
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(found[4])
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
        else:
            return sock
    return None


def serve(address: str, port: str, seconds: str, laptop: str, ports: str = "") -> None:
    """Start a relay in the background and print its description."""
    token = read_token()
    name = token[:16].decode()
    labels = {"id": name, "laptop": laptop[:64], "since": int(time.time()), "roam_for": int(float(seconds))}
    direct = listen(address, ports) if ports else None
    labels["port"] = direct.getsockname()[1] if direct is not None else None
    sshd = (address, int(port))
    folder = make_folder()
    living = [one for place, one in sockets() if ask(place, one, {"do": "list"}) is not None]
    if name + ".roam" in living:
        raise Failure("exists")
    if len(living) >= RELAYS_MAX:
        raise Failure("too-many")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = os.path.join(folder, name + ".roam")
    # Rename the socket once it listens. A socket that refuses connections would be taken for that of a dead relay.
    fresh = ".%s.%d" % (name, os.getpid())
    os.umask(0o177)
    os.chdir(folder)
    try:
        listener.bind(fresh)
        listener.listen(PENDING_MAX)
        os.rename(fresh, path)
    finally:
        os.chdir("/")
    try:
        detach(lambda: FarRelay(listener, path, token, sshd, labels, direct).run())
    except OSError:
        os.unlink(path)
        raise
    say(path=path, folder=identity(folder), **labels)


def detach(run: Callable[[], None]) -> None:
    """Run a function in a new process with its own Unix session. Its stdin, stdout and stderr are /dev/null.

    Return at once in the calling process.
    """
    if os.fork():
        os.wait()
        return
    import signal  # imported only here, because the other commands do not need it

    code = 1
    try:
        os.setsid()
        if os.fork():
            code = 0
            return
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        run()
        code = 0
    finally:
        os._exit(code)  # a normal exit would print again what the parent has buffered


def attach(name: str) -> None:
    """Pass stdin and stdout to a relay, and wait until the relay closes them."""
    for folder, one in sockets():
        if one != name + ".roam":
            continue
        sock = call(folder, one)
        if sock is None:
            if os.path.exists(os.path.join(folder, one)):
                raise Failure("silent")  # perhaps busy; after "unknown", the laptop would end the connection
            continue
        say(id=name)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", 0, 1))]
        sock.sendmsg([b'{"do": "attach"}\n'], rights)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)  # so that the channel ends when the relay closes its copies
        sock.settimeout(None)
        sock.recv(1)
        return
    raise not_found()


def end() -> None:
    """End the relay whose token is on stdin."""
    token = read_token().decode()
    for folder, name in sockets():
        if name == token[:16] + ".roam":
            answer = ask(folder, name, {"do": "end", "token": token})
            if answer is None:
                raise Failure("silent" if os.path.exists(os.path.join(folder, name)) else "unknown")
            if "error" in answer:
                raise Failure(str(answer["error"]))
            say(id=token[:16])
            return
    if not end_without_socket(token[:16]):
        raise not_found()
    say(id=token[:16])


def unix_sockets() -> list[list[str]]:
    """Return the rows of /proc/net/unix: all Unix sockets of this network namespace. Raise OSError."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        return [line.split() for line in file]


def is_bound_to(row: list[str], name: str) -> bool:
    """Report whether a row is a relay's socket. The kernel lists the name that it had before `serve` renamed it."""
    return len(row) == 8 and row[7].startswith(".%s." % name)


def end_without_socket(name: str) -> bool:
    """End a relay whose socket file was deleted; report whether there was one. Works only on Linux."""
    import signal  # imported only here, because the other commands do not need it

    try:
        held = {"socket:[%s]" % row[6] for row in unix_sockets() if is_bound_to(row, name)}
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()] if held else []
    except OSError:
        return False
    for pid in pids:
        folder = "/proc/%d/fd" % pid
        try:
            if os.stat(folder).st_uid == os.geteuid() and any(
                os.readlink(os.path.join(folder, fd)) in held for fd in os.listdir(folder)
            ):
                os.kill(pid, signal.SIGTERM)
                return True
        except OSError:
            continue  # the process ended meanwhile, or belongs to another user
    return False


def is_listed(name: str) -> bool | None:
    """Report whether a relay's socket is open in this network namespace, None if the system does not tell."""
    own, other = socket.socketpair()
    with own, other:
        try:
            rows = unix_sockets()
        except OSError:
            return None
        # A file that does not list our own socket is not the kernel's: a container may hide it.
        inode = str(os.fstat(own.fileno()).st_ino)
    if not any(len(row) > 6 and row[6] == inode for row in rows):
        return None
    return any(is_bound_to(row, name) for row in rows)


def look(name: str) -> None:
    """Print what this login sees of a relay: whether its socket is found and open, and the folders that may hold it."""
    if not is_hex(name, 16):
        raise Failure("usage")
    found = any(one == name + ".roam" for _, one in sockets())
    places = {folder: identity(folder) for folder in folders()}
    unsafe = [folder for folder in places if places[folder] and not is_private(folder)]
    say(id=name, socket=found, folders=places, unsafe=unsafe, listed=is_listed(name))


def print_list() -> None:
    """Print all relays of this user on this machine."""
    found = [ask(folder, name, {"do": "list"}) for folder, name in sockets()]
    say(relays=[one for one in found if one is not None])


def main(words: list[str]) -> int:
    """Carry out a command; return the exit status."""
    commands: dict[str, tuple[Callable[..., None], int, int]] = {
        "serve": (serve, 4, 5),
        "attach": (attach, 1, 1),
        "end": (end, 0, 0),
        "list": (print_list, 0, 0),
        "look": (look, 1, 1),
    }
    run, least, most = commands.get(words[0] if words else "", (None, 0, 0))
    try:
        if run is None or not least <= len(words) - 1 <= most:
            raise Failure("usage")
        run(*words[1:])
    except Failure as failure:
        say(error=str(failure))
    except (OSError, ValueError) as error:
        say(error="system", text=str(error)[:200])
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
