"""A program that carries frames between pairs of network interfaces, each frame delayed by half the round trip.

Each line has two packet sockets, on veth ends in a separate namespace. PACKET_VNET_HDR passes checksum and
segmentation state with each frame, so that offloads work as on a real wire. No frame overtakes another.
Frames are lost only by order: drop everything, including frames in flight; limit the bits per second, with a
queue of limited size; drop packets above a size; or lose a share of them. Each direction has its own
bandwidth and queue. The process sleeps while no frame is in flight.

Usage: delay_line.py NAME=IFACE:IFACE…  Orders come as JSON lines on stdin ({"line": NAME or null, "rtt_ms":
…, "drop": …, "bits_s": …, "queue": bytes, "largest": bytes, "loss": share}). null removes a limit; a missing
key leaves its setting unchanged. The answer to each order is one JSON line: how many frames each line carried
and lost since the start, and how many bytes are queued from the first interface to the second ("up") and back
("down").
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import socket
import sys
import time
from collections import deque
from typing import Any

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS, PACKET_VNET_HDR, PACKET_QDISC_BYPASS = 6, 15, 20
SO_RCVBUFFORCE = 33
PR_SET_TIMERSLACK = 29

# An Ethernet header and the 10 bytes of virtio_net_hdr. Before segmentation a packet has up to 64 KiB.
HEADERS = 14 + 10
FRAME_MAX = 65536 + 4 + HEADERS
# Space for a burst while this process waits for a processor on a busy machine.
RECEIVE_BUFFER = 16 << 20


def packet_socket(interface: str) -> socket.socket:
    """Open a socket that sends and receives whole frames of the interface. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)  # type: ignore[attr-defined, unused-ignore]  # Linux only
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # an ordinary user cannot exceed net.core.rmem_max
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind((interface, ETH_P_ALL))
    return sock


class Direction:
    """One direction of a line: the receiving end, the sending end, and the frames in between."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.free_at = 0.0
        self.on_the_way: deque[tuple[float, bytes]] = deque()

    def queued(self, now: float, bits_s: float) -> float:
        """Return how many bytes wait to be sent at this bandwidth."""
        return max(0.0, self.free_at - now) * bits_s / 8

    def add(self, frame: bytes, at: float) -> None:
        """Add a frame that is due at time `at`, but never before an earlier frame."""
        due = max(at, self.on_the_way[-1][0]) if self.on_the_way else at
        self.on_the_way.append((due, frame))


class Line:
    """One line: its two directions, how it treats frames, and its counters."""

    def __init__(self, name: str, left: socket.socket, right: socket.socket) -> None:
        self.directions = (Direction(left, right), Direction(right, left))
        self.one_way_s = 0.0
        self.drop = False
        self.bits_s: float | None = None
        self.queue: int | None = None
        self.largest: int | None = None
        self.loss = 0.0
        self.chance = random.Random(name)  # noqa: S311 - the same losses in each run
        self.carried = self.dropped = self.overflowed = self.swallowed = self.lost = 0

    def take(self, way: Direction, buffer: bytearray) -> None:
        """Receive every frame that waits at the start of one direction."""
        while True:
            try:
                size = way.near.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError:
                # the interface went down, or the kernel cannot deliver this frame: count it as lost, as on a
                # wire
                self.lost += 1
                return
            at = self.passes(way, size)
            if at is not None:
                way.add(bytes(memoryview(buffer)[:size]), at)

    def passes(self, way: Direction, size: int) -> float | None:
        """Return when a frame of that size is due at the other end, or None if the line drops it."""
        now, packet = time.monotonic(), size - HEADERS
        if self.drop or (self.loss and self.chance.random() < self.loss):
            self.dropped += 1
            return None
        if self.largest is not None and packet > self.largest:
            self.swallowed += 1
            return None
        if self.bits_s is None:
            return now + self.one_way_s
        if self.queue is not None and way.queued(now, self.bits_s) + packet > self.queue:
            self.overflowed += 1
            return None
        way.free_at = max(now, way.free_at) + packet * 8 / self.bits_s
        return way.free_at + self.one_way_s

    def give(self, now: float) -> None:
        """Send every frame that is due."""
        for way in self.directions:
            while way.on_the_way and way.on_the_way[0][0] <= now:
                _, frame = way.on_the_way.popleft()
                try:
                    way.far.send(frame)
                    self.carried += 1
                except OSError:
                    self.lost += 1

    def next_due(self) -> float | None:
        """Return when the next frame is due."""
        return min((way.on_the_way[0][0] for way in self.directions if way.on_the_way), default=None)

    def obey(self, order: dict[str, Any]) -> None:
        """Apply an order."""
        if order.get("rtt_ms") is not None:
            self.one_way_s = order["rtt_ms"] / 2000
        for name in ("bits_s", "queue", "largest"):
            if name in order:
                setattr(self, name, order[name])
        if order.get("loss") is not None:
            self.loss = order["loss"]
        if order.get("drop") is not None:
            self.drop = order["drop"]
            if self.drop:
                self._forget()
        if "bits_s" in order and self.bits_s is None:
            for way in self.directions:
                way.free_at = 0.0

    def _forget(self) -> None:
        for way in self.directions:
            self.dropped += len(way.on_the_way)
            way.on_the_way.clear()
            way.free_at = 0.0

    def report(self) -> dict[str, int]:
        """Return the counters. `lost` counts frames that the kernel or this process could not carry."""
        for way in self.directions:
            # struct tpacket_stats: packets and drops since the previous reading.
            raw = way.near.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self.lost += int.from_bytes(raw[4:8], sys.byteorder)
        now = time.monotonic()
        return {
            "carried": self.carried,
            "dropped": self.dropped,
            "overflowed": self.overflowed,
            "swallowed": self.swallowed,
            "lost": self.lost,
            **{
                f"queued_{name}": int(way.queued(now, self.bits_s or 0.0))
                for name, way in zip(("up", "down"), self.directions, strict=True)
            },
        }


def carry(lines: dict[str, Line]) -> None:
    """Carry frames and obey orders until stdin ends."""
    by_end = {way.near: (line, way) for line in lines.values() for way in line.directions}
    waiting: list[Any] = [sys.stdin.fileno(), *by_end]
    buffer = bytearray(FRAME_MAX)
    orders = b""
    while True:
        due = min((at for line in lines.values() if (at := line.next_due()) is not None), default=None)
        # select() counts in microseconds; poll() and epoll would round to milliseconds.
        ready, _, _ = select.select(
            waiting, [], [], None if due is None else max(0.0, due - time.monotonic())
        )
        for one in ready:
            if isinstance(one, socket.socket):
                line, way = by_end[one]
                line.take(way, buffer)
        for line in lines.values():
            line.give(time.monotonic())
        if sys.stdin.fileno() not in ready:
            continue
        chunk = os.read(sys.stdin.fileno(), 4096)
        if not chunk:
            return
        *whole, orders = (orders + chunk).split(b"\n")
        for text in whole:
            order = json.loads(text)
            for name, line in lines.items():
                if order.get("line") in (None, name):
                    line.obey(order)
            answer = {name: line.report() for name, line in lines.items()}
            os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Open the lines named on the command line and carry frames."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # 1 ns: wake when due, not 50 us later
    lines = {}
    for word in sys.argv[1:]:
        name, _, interfaces = word.partition("=")
        left, _, right = interfaces.partition(":")
        lines[name] = Line(name, packet_socket(left), packet_socket(right))
    carry(lines)


if __name__ == "__main__":
    main()
