"""A stopwatch that waits for its release, then tries a TCP service until it echoes, and prints the time.

Usage: forward_stopwatch.py ADDRESS PORT

It prints {} when it is ready. A line on stdin releases it. Then it tries, and prints {"at": SECONDS}, the
machine's monotonic clock at the first echo.

It repeats a refused or reset attempt after 5 ms. An attempt hangs if the forward listens but carries no data.
The program keeps a hanging attempt open, because the attempt is answered or reset as soon as the forward
works or ends. Every 250 ms it starts another attempt in parallel.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time

AGAIN_S = 0.005
COMPANION_S = 0.25
# The limit of parallel attempts, enough for ten seconds. In a longer outage, drop the oldest attempt first.
ATTEMPTS_MAX = 40
WORD = b"are you there\n"


class Attempts:
    """The attempts in progress."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.place = place
        self.selector = selectors.DefaultSelector()
        self.open: list[socket.socket] = []

    def start(self) -> None:
        """Begin one more attempt, unless the connection fails immediately."""
        if len(self.open) >= ATTEMPTS_MAX:
            self.forget(self.open[0])
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        if sock.connect_ex(self.place) not in (0, 115):  # EINPROGRESS
            sock.close()
            return
        self.open.append(sock)
        self.selector.register(sock, selectors.EVENT_WRITE)

    def forget(self, sock: socket.socket) -> None:
        """Close an attempt."""
        self.selector.unregister(sock)
        self.open.remove(sock)
        sock.close()

    def answered(self, wait_s: float) -> bool:
        """Wait for events of the attempts. Report whether an attempt was answered."""
        for key, _ in self.selector.select(wait_s):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)  # noqa: S101 - only sockets are registered
            try:
                if key.events == selectors.EVENT_WRITE:
                    sock.send(WORD)
                    self.selector.modify(sock, selectors.EVENT_READ)
                elif sock.recv(len(WORD)):
                    return True
                else:
                    self.forget(sock)
            except OSError:
                self.forget(sock)
        return False


def first_echo(place: tuple[str, int]) -> float:
    """Try until the service echoes. Return the monotonic time of the echo in seconds."""
    attempts = Attempts(place)
    next_start = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= next_start:
            attempts.start()
            next_start = now + (COMPANION_S if attempts.open else AGAIN_S)
        if attempts.answered(max(0.0, min(AGAIN_S, next_start - now))):
            return time.monotonic()
        if not attempts.open:
            next_start = min(next_start, time.monotonic() + AGAIN_S)


def main() -> None:
    """Get ready, wait for the release, measure."""
    place = (sys.argv[1], int(sys.argv[2]))
    os.write(1, b"{}\n")
    if os.read(0, 16):
        os.write(1, json.dumps({"at": first_echo(place)}).encode() + b"\n")


if __name__ == "__main__":
    main()
