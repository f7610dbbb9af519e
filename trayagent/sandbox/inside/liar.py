"""A program that pretends to be a server. Orders select what it does to a client.

Usage: liar.py ADDRESS PORT  It prints {} when it listens, or {"error": TEXT} if it cannot.

An order is a JSON line: {"trick", ...} names one of TRICKS and its arguments, {} changes nothing. The answer
is {"visits", "relayed"}: how many connections came so far, and how many bytes the server sent in each relayed
connection.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

BANNER = b"SSH-2.0-OpenSSH_9.2p1\r\n"
# Messages: RFC 4253, section 12. The reason: section 11.1.
DISCONNECT, DEBUG = 1, 4
KEXINIT, KEX_ECDH_INIT, KEX_ECDH_REPLY = 20, 30, 31  # RFC 4253, section 7.1; RFC 5656, section 7.1
REASON_PROTOCOL_ERROR = 2
TARPIT_EVERY_S = 0.2
CLOSE_NOW = struct.pack("ii", 1, 0)

Trick = Callable[[socket.socket], None]


def disconnect(
    visitor: socket.socket, text: str, prelude: Sequence[str] = (), debug: Sequence[str] = ()
) -> None:
    """Send lines before the banner, debug messages and a disconnect with this text, all before any key exchange."""
    visitor.sendall(b"".join(f"{line}\r\n".encode() for line in prelude) + BANNER)
    read_line(visitor)
    body = struct.pack(">BI", DISCONNECT, REASON_PROTOCOL_ERROR) + string(text) + string("")
    messages = [*(struct.pack(">B?", DEBUG, True) + string(line) + string("") for line in debug), body]
    visitor.sendall(b"".join(map(packet, messages)))
    drain(visitor)


def close(visitor: socket.socket, reset: bool = False) -> None:
    """Close the connection immediately, with a reset if `reset` is true."""
    if reset:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_NOW)
    visitor.close()


def keep_silent(visitor: socket.socket) -> None:
    """Send nothing."""
    drain(visitor)


def stall(visitor: socket.socket) -> None:
    """Send a banner, and nothing more."""
    visitor.sendall(BANNER)
    drain(visitor)


def tarpit(visitor: socket.socket) -> None:
    """Send lines before the banner forever."""
    pause = threading.Event()
    while not pause.wait(TARPIT_EVERY_S):
        visitor.sendall(b"wait a little\r\n")


def long_banner(visitor: socket.socket, size: int) -> None:
    """Send a banner of that size in bytes."""
    visitor.sendall(b"SSH-2.0-" + b"x" * (size - 10) + b"\r\n")
    drain(visitor)


def certificate(visitor: socket.socket, blob: str, algorithm: str) -> None:
    """Answer the key exchange with this host certificate (base64), unsigned because the key is unknown."""
    visitor.sendall(BANNER + packet(offers(algorithm)))
    read_line(visitor)
    while read_packet(visitor)[0] != KEX_ECDH_INIT:
        pass
    point = bytes([9]) + bytes(31)  # any public value of curve25519
    reply = data(base64.b64decode(blob)) + data(point)
    visitor.sendall(packet(bytes([KEX_ECDH_REPLY]) + reply))
    drain(visitor)


def relay(visitor: socket.socket, address: str, port: int, limit: int | None) -> None:
    """Pass the client's data to the real server, and only the server's first `limit` bytes to the client.

    Discard the rest, and keep the client's connection open even after the server closes its own.
    """
    with socket.create_connection((address, port)) as server:
        there = threading.Thread(target=_pass_on, args=(visitor, server), daemon=True)
        there.start()
        sent = 0
        while content := server.recv(65536):
            sent += len(content)
            if limit is None or sent <= limit:
                visitor.sendall(content)
        relayed.append(sent)
        if limit is None:
            visitor.shutdown(socket.SHUT_WR)
        there.join()


relayed: list[int] = []
"""The number of bytes that the server sent in each relayed connection that it has closed."""


def _pass_on(visitor: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := visitor.recv(65536):
            with contextlib.suppress(OSError):  # the server closed its connection; keep the client's open
                server.sendall(content)
        server.shutdown(socket.SHUT_WR)


_ALL = (disconnect, close, keep_silent, stall, tarpit, long_banner, certificate, relay)
TRICKS: dict[str, Callable[..., None]] = {function.__name__: function for function in _ALL}


def string(text: str) -> bytes:
    """Return a text as RFC 4251, section 5, encodes it."""
    return data(text.encode())


def data(content: bytes) -> bytes:
    """Return bytes as RFC 4251, section 5, encodes a string."""
    return struct.pack(">I", len(content)) + content


def offers(host_key_algorithm: str) -> bytes:
    """Return an SSH_MSG_KEXINIT that offers one algorithm of each kind: RFC 4253, section 7.1."""
    both_ways = ("aes128-ctr", "hmac-sha2-256", "none", "")
    names = ["curve25519-sha256", host_key_algorithm, *(name for name in both_ways for _ in range(2))]
    return bytes([KEXINIT]) + os.urandom(16) + b"".join(map(string, names)) + bytes(5)


def read_packet(visitor: socket.socket) -> bytes:
    """Return the payload of the next unencrypted message. Raises OSError at the end of the connection."""
    (length,) = struct.unpack(">I", read_exactly(visitor, 4))
    body = read_exactly(visitor, length)
    return body[1 : length - body[0]]


def read_exactly(visitor: socket.socket, size: int) -> bytes:
    """Return that many bytes. Raises OSError if the client closes the connection first."""
    content = b""
    while len(content) < size:
        more = visitor.recv(size - len(content))
        if not more:
            raise ConnectionResetError
        content += more
    return content


def packet(payload: bytes) -> bytes:
    """Return an unencrypted message with this payload: RFC 4253, section 6."""
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def read_line(visitor: socket.socket) -> bytes:
    """Return the client's first line, or its beginning if the client closes the connection first."""
    line = b""
    while not line.endswith(b"\n") and (byte := visitor.recv(1)):
        line += byte
    return line


def drain(visitor: socket.socket) -> None:
    """Discard the client's data until it closes the connection."""
    while visitor.recv(65536):
        pass


class Service(socketserver.ThreadingTCPServer):
    """The listener. `trick` is applied to each new connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.trick: Trick = keep_silent
        self.visits = 0
        super().__init__((address, port), socketserver.BaseRequestHandler)

    def finish_request(self, request: object, client_address: object) -> None:
        """Play the trick on one client."""
        del client_address
        assert isinstance(request, socket.socket)  # noqa: S101 - socketserver passes a TCP server's socket
        self.visits += 1
        with contextlib.suppress(OSError):  # a client may disappear with its network
            self.trick(request)


def main() -> None:
    """Listen, and obey orders until the end of stdin."""
    try:
        service = Service(sys.argv[1], int(sys.argv[2]))
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201 - the answer
        return
    print("{}", flush=True)  # noqa: T201 - the answer
    threading.Thread(target=service.serve_forever, daemon=True).start()
    for line in sys.stdin:
        order = json.loads(line)
        if order:
            service.trick = partial(TRICKS[order.pop("trick")], **order)
        print(json.dumps({"visits": service.visits, "relayed": relayed}), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
