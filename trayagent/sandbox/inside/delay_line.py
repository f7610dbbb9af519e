"""A delay line: carries frames between pairs of network interfaces, each after half the round trip.

Two packet sockets per line, on veth ends in a namespace of their own. PACKET_VNET_HDR
hands over checksum and segmentation state with each frame, so that offloads work as on
a real wire. Nothing is lost and nothing overtakes, except that a line told to drop
drops everything, what is on its way included. It sleeps while nothing travels.

Usage: delay_line.py NAME=IFACE:IFACE…  Orders come as JSON lines on stdin
({"line": NAME or null, "rtt_ms": …, "drop": …}); each is answered by one JSON line:
what each line carried and lost since the start.
"""

from __future__ import annotations

import ctypes
import json
import os
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

# A 64 KiB segment before segmentation, its Ethernet header and the 10 bytes of virtio_net_hdr.
FRAME_MAX = 65536 + 14 + 4 + 10
# Room for a burst while this process waits for its turn on a busy machine.
RECEIVE_BUFFER = 16 << 20


def packet_socket(interface: str) -> socket.socket:
    """Open a socket that takes and gives whole frames of the interface; raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)  # type: ignore[attr-defined, unused-ignore]  # Linux only
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # an ordinary user gets what net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind((interface, ETH_P_ALL))
    return sock


class Line:
    """One line: two ends, what is on its way, and what it has done so far."""

    def __init__(self, ends: tuple[socket.socket, socket.socket]) -> None:
        self.ends = ends
        self.one_way_s = 0.0
        self.drop = False
        self.on_the_way: deque[tuple[float, socket.socket, bytes]] = deque()
        self.carried = self.dropped = self.lost = 0

    def take(self, end: socket.socket, buffer: bytearray) -> None:
        """Take every frame that waits at one end."""
        other = self.ends[1] if end is self.ends[0] else self.ends[0]
        while True:
            try:
                size = end.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError:  # the interface went down, or a frame that cannot be described: as on a wire
                self.lost += 1
                return
            if self.drop:
                self.dropped += 1
                continue
            due = time.monotonic() + self.one_way_s
            if self.on_the_way:
                due = max(due, self.on_the_way[-1][0])
            self.on_the_way.append((due, other, bytes(memoryview(buffer)[:size])))

    def give(self, now: float) -> None:
        """Hand out every frame whose time has come."""
        while self.on_the_way and self.on_the_way[0][0] <= now:
            _, end, frame = self.on_the_way.popleft()
            try:
                end.send(frame)
                self.carried += 1
            except OSError:
                self.lost += 1

    def obey(self, order: dict[str, Any]) -> None:
        """Set the round trip and whether to drop."""
        if order.get("rtt_ms") is not None:
            self.one_way_s = order["rtt_ms"] / 2000
        if order.get("drop") is not None:
            self.drop = order["drop"]
            if self.drop:
                self.dropped += len(self.on_the_way)
                self.on_the_way.clear()

    def report(self) -> dict[str, int]:
        """Return the counters; `lost` is what the kernel or this process could not carry."""
        for end in self.ends:
            # struct tpacket_stats: packets and drops since the last time it was read.
            raw = end.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self.lost += int.from_bytes(raw[4:8], sys.byteorder)
        return {"carried": self.carried, "dropped": self.dropped, "lost": self.lost}


def carry(lines: dict[str, Line]) -> None:
    """Carry frames and obey orders until stdin ends."""
    by_end = {end: line for line in lines.values() for end in line.ends}
    waiting: list[Any] = [sys.stdin.fileno(), *by_end]
    buffer = bytearray(FRAME_MAX)
    orders = b""
    while True:
        due = min((line.on_the_way[0][0] for line in lines.values() if line.on_the_way), default=None)
        # select() counts in microseconds; poll() and epoll would round to milliseconds.
        ready, _, _ = select.select(
            waiting, [], [], None if due is None else max(0.0, due - time.monotonic())
        )
        for one in ready:
            if isinstance(one, socket.socket):
                by_end[one].take(one, buffer)
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
    """Open the lines named on the command line and carry."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # 1 ns: wake when due, not 50 us later
    lines = {}
    for word in sys.argv[1:]:
        name, _, interfaces = word.partition("=")
        left, _, right = interfaces.partition(":")
        lines[name] = Line((packet_socket(left), packet_socket(right)))
    carry(lines)


if __name__ == "__main__":
    main()
