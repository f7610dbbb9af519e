"""Read single keys from a terminal, and restore the terminal afterwards; termios(3)."""

from __future__ import annotations

import os
import select
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Key = Literal[
    "up", "down", "page-up", "page-down", "home", "end", "space", "enter", "cancel", "redraw", "other"
]

_ESCAPE_S = 0.05
"""How long to wait for the rest of a key's sequence, in seconds. After the Escape key there is no rest."""
_KEYS: dict[bytes, Key] = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up", b"\x10": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down", b"\x0e": "down", b"\t": "down",
    b"\x1b[5~": "page-up", b"\x1b[6~": "page-down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"g": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end", b"G": "end",
    b" ": "space", b"\r": "enter", b"\n": "enter",
    b"q": "cancel", b"\x1b": "cancel", b"\x03": "cancel", b"\x04": "cancel", b"": "cancel",
}  # fmt: skip


class Keyboard:
    """Reads keys from a terminal. A change of the terminal's size counts as the key "redraw"."""

    def __init__(self, descriptor: int, resized: int) -> None:
        self._descriptor = descriptor
        self._resized = resized

    def key(self) -> Key:
        """Wait for the next key. Return "cancel" if the terminal was closed."""
        ready, _, _ = select.select([self._descriptor, self._resized], [], [])
        if self._resized in ready:
            os.read(self._resized, 64)
            return "redraw"
        data = self._read(1)
        if data == b"\x1b":
            while self._more() and len(data) < 8:
                data += self._read(1)
                if len(data) > 2 and (data[-1:].isalpha() or data[-1:] == b"~"):
                    break
        return _KEYS.get(data, "other")

    def _read(self, count: int) -> bytes:
        try:
            return os.read(self._descriptor, count)
        except OSError:
            return b""

    def _more(self) -> bool:
        return bool(select.select([self._descriptor], [], [], _ESCAPE_S)[0])


@contextmanager
def keyboard(descriptor: int) -> Iterator[Keyboard]:
    """Turn off echo and line editing, and restore the terminal at the end of the block."""
    before = termios.tcgetattr(descriptor)
    now = termios.tcgetattr(descriptor)
    # Also turn off ISIG: if Ctrl-Z suspended the program, the shell would get a terminal that does not echo.
    now[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(writable, False)
    old_handler = signal.signal(signal.SIGWINCH, lambda *_: None)
    old_wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
        yield Keyboard(descriptor, readable)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGWINCH, old_handler)
        os.close(readable)
        os.close(writable)
