"""A program that listens like an ssh master and gives invalid answers.

Usage: hostile_mux.py PATH HOW PID [ambush]

HOW: "claims" to be process PID; "silent" never answers; "endless" floods the client; "huge" announces a
packet of 4 GB; "agrees" to everything. For each socket, the program prints a JSON line with its path. With
"ambush" it waits for each ssh whose control path is PATH or begins with PATH, and listens there before that
ssh does. It ends at the end of stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import sys

HELLO, ALIVE_CHECK = 0x00000001, 0x10000004
S_OK, S_ALIVE, S_SESSION_OPENED = 0x80000001, 0x80000005, 0x80000006
NEW_SESSION, NEW_STDIO_FWD = 0x10000002, 0x10000008
LOOK_S = 0.002  # The interval between two scans for new ssh processes. A login takes 100 times as long.


def packet(*words: int) -> bytes:
    """Return a message of these numbers."""
    body = struct.pack(f">{len(words)}I", *words)
    return struct.pack(">I", len(body)) + body


class Hostile:
    """All listeners and all clients."""

    def __init__(self, how: str, pid: int) -> None:
        self._how = how
        self._pid = pid
        self._selector = selectors.DefaultSelector()
        self._read: dict[socket.socket, bytes] = {}
        self._taken: set[str] = set()

    def listen(self, path: str) -> None:
        """Listen on this path, unless it is in use or this program already listened there."""
        if path in self._taken:
            return
        self._taken.add(path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
        except OSError:
            listener.close()
            return
        os.chmod(path, 0o777)  # noqa: S103, PTH101 - the victim has to connect
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        print(json.dumps({"listens": path}), flush=True)  # noqa: T201 - the answer to the parent

    def serve(self, ambush: str | None) -> None:
        """Serve until the end of the input."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            if ambush is not None:
                for path in wanted(ambush):
                    self.listen(path)
            for key, _ in self._selector.select(LOOK_S if ambush is not None else None):
                if key.data is None:
                    if not sys.stdin.readline():
                        return
                else:
                    with contextlib.suppress(OSError):
                        key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        self._read[client] = b""
        self._selector.register(client, selectors.EVENT_READ, self._hear)
        if self._how == "silent":
            return
        if self._how == "huge":
            client.send(struct.pack(">I", 0xFFFFFFFF))
            return
        client.send(packet(HELLO, 4))
        if self._how == "endless":
            client.setblocking(False)
            self._selector.modify(client, selectors.EVENT_READ | selectors.EVENT_WRITE, self._flood)

    def _flood(self, client: socket.socket) -> None:
        try:
            client.send(packet(S_OK, 1) * 4096)
        except BlockingIOError:
            return
        except OSError:
            self._leave(client)

    def _hear(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._leave(client)
            return
        self._read[client] += data
        while len(self._read[client]) >= 12:
            length, kind, number = struct.unpack_from(">III", self._read[client])
            if len(self._read[client]) < 4 + length:
                return
            self._read[client] = self._read[client][4 + length :]
            if self._how != "silent" and kind != HELLO:
                client.send(self._answer(kind, number))

    def _answer(self, kind: int, number: int) -> bytes:
        if kind == ALIVE_CHECK:
            return packet(S_ALIVE, number, self._pid)
        if kind in {NEW_SESSION, NEW_STDIO_FWD}:
            return packet(S_SESSION_OPENED, number, 1)
        return packet(S_OK, number)

    def _leave(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._read.pop(client, None)
        client.close()


def wanted(begin: str) -> list[str]:
    """Return the control paths with this prefix on which an ssh will listen.

    They come from the command lines, which every user may read.
    """
    option = f"ControlPath={begin}".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - os.listdir is faster, and this runs 500 times a second
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123
                words = file.read().split(b"\0")
                found += [w.partition(b"=")[2].decode() for w in words if w.startswith(option)]
    return found


def main() -> None:
    """Listen, and misbehave."""
    path, how, pid, *ambush = sys.argv[1:]
    hostile = Hostile(how, int(pid))
    if ambush:
        print(json.dumps({"waits": path}), flush=True)  # noqa: T201 - the answer to the parent
    else:
        hostile.listen(path)
    hostile.serve(path if ambush else None)


if __name__ == "__main__":
    main()
