"""A program for the laptop that opens TCP connections and sends each line of its input through all of them.

Usage: talk.py COUNT ADDRESS PORT [TARGET]. With TARGET, ADDRESS and PORT are those of a SOCKS proxy (RFC 1928),
which connects to that port of the server itself. It prints a line when every connection has echoed it, and ends with
status 1 if a connection ends.
"""

from __future__ import annotations

import socket
import struct
import sys


def main(count: str, address: str, port: str, *target: str) -> None:
    """Open all connections, then pass lines."""
    connections = [socket.create_connection((address, int(port))) for _ in range(int(count))]
    if target:
        hello = bytes([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1]) + struct.pack("!H", int(target[0]))
        for connection in connections:
            connection.sendall(hello)
        for connection in connections:
            if read(connection, 12)[3] != 0:
                sys.exit("the proxy refused")
    for line in sys.stdin:
        for connection in connections:
            connection.sendall(line.encode())
        for connection in connections:
            read(connection, len(line))
        print(line, end="", flush=True)  # noqa: T201  # the answer


def read(connection: socket.socket, size: int) -> bytes:
    """Read that many bytes, or end the program."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            sys.exit("a connection ended")
        data += more
    return data


if __name__ == "__main__":
    main(*sys.argv[1:])
