"""A blocking client of the near relay.

The relay answers an attach when it succeeds or fails, and every other request at once.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from trayagent.roaming.far_relay_and_resend_buffer import receive_fds

FAR_RELAY = Path(__file__).parent / "far_relay_and_resend_buffer.py"
VERSION = 1


def near_command(path: str) -> list[str]:
    """Return the command that starts a near relay with its control socket at `path`."""
    return [sys.executable, "-I", "-S", "-E", str(Path(__file__).parent / "near_relay.py"), path]


def new_token() -> str:
    """Return a token, ID.SECRET, for one connection."""
    return f"{os.urandom(8).hex()}.{os.urandom(16).hex()}"


class NearClient:
    """One connection to the near relay; `hello` is the relay's first message.

    Raises OSError if there is no near relay, TimeoutError if it does not answer in time.
    """

    def __init__(self, path: str, *, timeout_s: float = 60.0) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        self._said = b""
        self._fds: list[int] = []
        self._events: list[dict[str, Any]] = []
        self._tag = 0
        try:
            self._sock.connect(path)
            self.hello = self._line()
        except BaseException:
            self._sock.close()
            raise

    def send(self, do: str, fds: Sequence[int] = (), **words: Any) -> int:
        """Send a request, with descriptors; return its tag for `answer`."""
        self._tag += 1
        line = json.dumps({"v": VERSION, "do": do, "tag": self._tag, **words}).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        self._sock.sendmsg([line], rights)
        return self._tag

    def answer(self, tag: int) -> dict[str, Any]:
        """Return the answer to a request. Keep events that come before it for `event`."""
        while True:
            said = self._line()
            if said.get("tag") == tag:
                return said
            if "event" in said:
                self._events.append(said)

    def ask(self, do: str, fds: Sequence[int] = (), **words: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        return self.answer(self.send(do, fds, **words))

    def event(self) -> dict[str, Any]:
        """Return the next event, after `ask("watch")`."""
        return self._events.pop(0) if self._events else self._line()

    def start(self, token: str, roam_for_s: float, host: str = "") -> socket.socket:
        """Begin a connection in the relay; return the socket to pass to ssh. Raise OSError with the relay's code."""
        name, _, secret = token.partition(".")
        answer = self.ask("start", id=name, secret=secret, roam_for=roam_for_s, host=host)
        if not answer["ok"]:
            raise OSError(answer["error"])
        return socket.socket(fileno=self._fds.pop(0))

    def close(self) -> None:
        """Close the connection to the relay. The relay keeps running."""
        self._sock.close()
        for fd in self._fds:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._said:
            said, fds = receive_fds(self._sock, 64 * 1024, 1)
            self._fds += fds
            if not said:
                raise ConnectionResetError("the near relay ended")
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found
