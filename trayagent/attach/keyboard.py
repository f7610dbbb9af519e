"""Pass keys to ssh through a pseudo-terminal, and discard keys that are typed while the network is away.

With a shared connection, the master reads the keys itself: it gets ssh's standard input as a descriptor
(PROTOCOL.mux, section 3). Without a network, keys would wait in the master's buffers and arrive minutes
later. So ssh's input is a pseudo-terminal with the modes and the size of the user's terminal. `attach` copies
each key to it, or discards the key. ssh writes its output directly to the user's terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 4096
_SIZE = "HHHH"  # rows, columns, width and height in pixels: struct winsize, ioctl_tty(2)


class Keyboard:
    """A pseudo-terminal whose `slave` is ssh's input; `master` is for select(2). Call `close` when done."""

    def __init__(self, modes: list[Any]) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        termios.tcsetattr(self.slave, termios.TCSANOW, modes)
        self._open = False
        self._size = b""
        self.pending = b""
        self.fit()

    @property
    def is_open(self) -> bool:
        """Whether ssh has opened its session. From then on, it reads single keys instead of lines."""
        if not self._open:
            self._open = not termios.tcgetattr(self.slave)[3] & termios.ICANON
        return self._open

    def send(self, keys: bytes, *, held: bool = False) -> None:
        """Pass keys to ssh, as many as it accepts now; the rest stays in `pending`.

        With `held`, discard the keys instead: when they arrive later, the screen may have changed.
        """
        if held:
            return
        self.pending += keys
        with contextlib.suppress(BlockingIOError):
            while self.pending:
                self.pending = self.pending[os.write(self.master, self.pending) :]

    def drop_echo(self) -> None:
        """Discard the echo of keys that were typed before ssh turned the echo off."""
        with contextlib.suppress(OSError):
            while os.read(self.master, _CHUNK):
                pass

    def fit(self, *, rows_less: int = 0) -> bool:
        """Copy the size of the user's terminal, minus `rows_less` rows. Report whether the size changed."""
        try:
            size = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(struct.calcsize(_SIZE)))
        except OSError:
            return False
        rows, *others = struct.unpack(_SIZE, size)
        size = struct.pack(_SIZE, max(rows - rows_less, min(rows, 1)), *others)
        if size == self._size:
            return False
        self._size = size
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        return True

    def close(self) -> None:
        """Close both descriptors. The ssh master may still have its own copies."""
        os.close(self.master)
        os.close(self.slave)
