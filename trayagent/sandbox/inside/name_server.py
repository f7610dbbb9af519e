"""A name server that records every query, to show what a café's resolver would learn.

Usage: name_server.py ADDRESS  It prints {} when it listens, or {"error": TEXT} if it cannot.

An order is a JSON line: {"names": {name: IPv4 address}} replaces the known names, {} changes nothing. The
answer is {"asked": [name, …]}: every queried name so far, in lower case and in order. A query for an unknown
name gets NXDOMAIN. A query for a type other than A gets an empty answer. Messages: RFC 1035, section 4.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import struct
import sys
import threading

PORT = 53
TYPE_A, CLASS_IN = 1, 1
RESPONSE, NO_SUCH_NAME = 0x8180, 3
TTL_S = 1


class Names:
    """The known names and the queries so far."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.asked: list[str] = []

    def answer(self, query: bytes) -> bytes:
        """Return the answer to a query of one question. Raises ValueError or IndexError for any other."""
        number, _, questions = struct.unpack(">HHH", query[:6])
        if questions != 1:
            raise ValueError("not one question")
        name, end = read_name(query, 12)
        kind = struct.unpack(">H", query[end : end + 2])[0]
        question = query[12 : end + 4]
        self.asked.append(name)
        address = self.known.get(name)
        flags = RESPONSE | (NO_SUCH_NAME if address is None else 0)
        record = b""
        if address is not None and kind == TYPE_A:
            packed = ipaddress.IPv4Address(address).packed
            record = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL_S, len(packed)) + packed
        return struct.pack(">HHHHHH", number, flags, 1, 1 if record else 0, 0, 0) + question + record


def read_name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset, and the offset after the name. Names in questions are not compressed."""
    labels = []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def serve(service: socket.socket, names: Names) -> None:
    """Answer queries forever."""
    while True:
        query, visitor = service.recvfrom(4096)
        try:
            answer = names.answer(query)
        except (ValueError, IndexError, struct.error):
            continue
        service.sendto(answer, visitor)


def main() -> None:
    """Listen, and obey orders until the end of stdin."""
    names = Names()
    service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        service.bind((sys.argv[1], PORT))
    except OSError as error:
        os.write(1, json.dumps({"error": str(error)}).encode() + b"\n")
        return
    os.write(1, b"{}\n")
    threading.Thread(target=serve, args=(service, names), daemon=True).start()
    for line in sys.stdin:
        names.known = json.loads(line).get("names", names.known)
        os.write(1, json.dumps({"asked": names.asked}).encode() + b"\n")


if __name__ == "__main__":
    main()
