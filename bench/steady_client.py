"""A program for the laptop that talks to an echo service through a forward, and reports each answer.

Usage: steady_client.py PORT SIZE PERIOD

It keeps one connection open and sends a line of SIZE bytes every PERIOD seconds. With PERIOD 0 it sends one line for
each line on stdin. If the connection ends, it connects again at once, like a user who tries again, and sends the line
that has no answer. It prints {"answered": T} for each answer and {"ended": T} for each end, in monotonic seconds.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

AGAIN_S = 0.05
CONNECT_S = 5.0


class Client:
    """One connection at a time."""

    def __init__(self, port: int, size: int) -> None:
        self.port = port
        self.line = b"x" * (size - 1) + b"\n"
        self.unsent = b""
        self.waiting = 0  # lines without an answer
        self.sock = self._connect()

    def _connect(self) -> socket.socket:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), CONNECT_S)
            except OSError:
                time.sleep(AGAIN_S)
            else:
                sock.setblocking(False)
                return sock

    def send(self) -> None:
        """Send one more line, unless the connection is full."""
        if not self.unsent:
            self.unsent = self.line
            self.waiting += 1

    def step(self, wait_s: float) -> bool:
        """Pass data for at most `wait_s`. Report whether there is something to read on stdin."""
        to_send = [self.sock] if self.unsent else []
        readable, writable, _ = select.select([self.sock, sys.stdin], to_send, [], wait_s)
        try:
            if writable:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            if self.sock in readable:
                self._read(self.sock.recv(65536))
        except OSError:
            self._again()
        return sys.stdin in readable

    def _read(self, data: bytes) -> None:
        if not data:
            self._again()
            return
        for _ in range(data.count(b"\n")):
            self.waiting -= 1
            say("answered")

    def _again(self) -> None:
        self.sock.close()
        say("ended")
        time.sleep(AGAIN_S)
        self.sock = self._connect()
        self.unsent, self.waiting = (self.line, 1) if self.waiting else (b"", 0)


def say(what: str) -> None:
    """Print an event with its time."""
    os.write(1, json.dumps({what: time.monotonic()}).encode() + b"\n")


def main(port: str, size: str, period: str) -> None:
    """Talk until stdin ends."""
    client, period_s = Client(int(port), int(size)), float(period)
    next_at = time.monotonic()
    while True:
        if period_s and time.monotonic() >= next_at:
            client.send()
            next_at = time.monotonic() + period_s
        if client.step(max(0.0, next_at - time.monotonic()) if period_s else 60.0):
            if not os.read(0, 100):
                return
            client.send()


if __name__ == "__main__":
    main(*sys.argv[1:])
