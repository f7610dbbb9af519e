"""Sends ICMP echoes one after the other.

Usage: ping.py ADDRESS COUNT WAIT_S SIZE  prints the round trips in ms as a JSON list; null means no answer.
SIZE is the size of the IP packets in bytes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time

ECHO_REQUEST, ECHO_REPLY = 8, 0
HEADERS = 20 + 8  # IPv4 without options, ICMP


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(sock: socket.socket, address: str, number: int, wait_s: float, size: int) -> float | None:
    """Send one echo request. Return the round trip in ms, or None if no answer came in time."""
    ident = os.getpid() & 0xFFFF
    body = bytes(size - HEADERS)
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, ident, number)
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(head + body), ident, number)
    start = time.monotonic()
    try:
        sock.sendto(head + body, (address, 0))
    except OSError:
        return None
    while (left := start + wait_s - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        data = sock.recv(2048)[20:]  # without options the IPv4 header has 20 bytes
        if data[0] == ECHO_REPLY and struct.unpack("!HH", data[4:8]) == (ident, number):
            return (time.monotonic() - start) * 1000
    return None


def main() -> None:
    """Send the echo requests of the command line, and print the round trips."""
    address, count, wait_s, size = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    answers = [ping(sock, address, number, wait_s, size) for number in range(count)]
    os.write(1, json.dumps(answers).encode() + b"\n")


if __name__ == "__main__":
    main()
