"""Steady traffic through a session or a forward: one end sends bytes, the other counts them.

Usage: traffic.py near up|down session WORDS…   runs a command (an ssh with `far` at its other end)
       traffic.py near up|down port ADDRESS PORT  connects (to a forward with `service` at its other end)
       traffic.py far up|down                    the other end of a session, on its standard descriptors
       traffic.py service ADDRESS PORT           the other end of forwards; prints {} when it listens

`near` prints {} at its start. It answers each JSON line on stdin, {"rate": bytes per second, or null}, with
{"bytes": how many bytes arrived, "ended": how the traffic ended, or null}. The receiving end counts. For "up"
that is the server, which reports its count in lines.
"""

from __future__ import annotations

import json
import os
import select
import socket
import socketserver
import subprocess
import sys
import time

CHUNK = bytes(16384)
REPORT_EVERY_S = 0.05


def pour(descriptor: int) -> None:
    """Write until the other end has closed the connection."""
    try:
        while True:
            os.write(descriptor, CHUNK)
    except OSError:
        return


def count(source: int, reports: int) -> None:
    """Read until the end, and report the number of bytes so far, at most 20 times a second."""
    total, reported = 0, 0.0
    try:
        while data := os.read(source, 65536):
            total += len(data)
            now = time.monotonic()
            if now >= reported + REPORT_EVERY_S:
                os.write(reports, b"%d\n" % total)
                reported = now
        os.write(reports, b"%d\n" % total)
    except OSError:
        return


class Handler(socketserver.BaseRequestHandler):
    """One connection of the service: the first byte gives the direction."""

    def handle(self) -> None:
        """Serve until the client leaves."""
        descriptor = self.request.fileno()
        try:
            direction = self.request.recv(1)
        except OSError:
            return
        if direction == b"d":
            pour(descriptor)
        elif direction == b"u":
            count(descriptor, descriptor)


class Service(socketserver.ThreadingTCPServer):
    """A listener that can be restarted immediately and does not wait for its clients."""

    allow_reuse_address = True
    daemon_threads = True


class Near:
    """The end in the laptop: sends or counts, and answers orders."""

    def __init__(self, direction: str, kind: str, words: list[str]) -> None:
        self.up = direction == "up"
        self.child: subprocess.Popen[bytes] | None = None
        if kind == "session":
            pipe = subprocess.PIPE
            self.child = subprocess.Popen(words, stdin=pipe, stdout=pipe)
            assert self.child.stdin and self.child.stdout  # noqa: S101 - both are pipes
            self.out, self.into = self.child.stdin.fileno(), self.child.stdout.fileno()
        else:
            self.sock = socket.create_connection((words[0], int(words[1])))
            self.sock.sendall(direction[:1].encode())
            self.out = self.into = self.sock.fileno()
        os.set_blocking(self.out, False)
        os.set_blocking(self.into, False)
        self.rate: float | None = None
        self.allowed_from = time.monotonic()
        self.poured = 0
        self.total = 0
        self.reports = b""
        self.ended: str | None = None

    def may_pour(self, now: float) -> bool:
        """Report whether the rate allows another chunk now."""
        if not self.up or self.ended is not None:
            return False
        return self.rate is None or self.poured < self.rate * (now - self.allowed_from)

    def take(self) -> None:
        """Read and count the bytes that arrived."""
        try:
            data = os.read(self.into, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(str(error))
            return
        if not data:
            self.end(f"status {self.child.wait()}" if self.child else "end")
        elif not self.up:
            self.total += len(data)
        else:
            *whole, self.reports = (self.reports + data).split(b"\n")
            self.total = int(whole[-1]) if whole else self.total

    def give(self) -> None:
        """Write one chunk, or the part of it that fits."""
        try:
            self.poured += os.write(self.out, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if self.child is None:
                self.end(str(error))
            else:
                self.up = False  # the exit status is read when the command's output ends

    def end(self, how: str) -> None:
        """Record how the traffic ended, unless an end is already recorded."""
        self.ended = self.ended or how

    def obey(self, order: dict[str, float | None]) -> None:
        """Set the rate."""
        if "rate" in order:
            self.rate, self.allowed_from, self.poured = order["rate"], time.monotonic(), 0

    def run(self) -> None:
        """Carry data and answer orders until stdin ends."""
        orders = b""
        while True:
            now = time.monotonic()
            reading = [0] if self.ended is not None else [0, self.into]
            pouring = [self.out] if self.may_pour(now) else []
            pause = 0.02 if self.up and self.ended is None and not pouring else None
            ready, free, _ = select.select(reading, pouring, [], pause)
            if self.into in ready:
                self.take()
            if free:
                self.give()
            if 0 not in ready:
                continue
            chunk = os.read(0, 4096)
            if not chunk:
                break
            *whole, orders = (orders + chunk).split(b"\n")
            for text in whole:
                self.obey(json.loads(text))
                os.write(1, json.dumps({"bytes": self.total, "ended": self.ended}).encode() + b"\n")
        if self.child is not None:
            self.child.kill()
            self.child.wait()


def main() -> None:
    """Run the role that the command line selects."""
    role, *words = sys.argv[1:]
    if role == "far":
        if words == ["up"]:
            count(0, 1)
        else:
            pour(1)
    elif role == "service":
        service = Service((words[0], int(words[1])), Handler)
        os.write(1, b"{}\n")
        service.serve_forever()
    else:
        near = Near(words[0], words[1], words[2:])
        os.write(1, b"{}\n")
        near.run()


if __name__ == "__main__":
    main()
