"""Pass keys to ssh through a pseudo-terminal, and discard keys that are typed while the network is away.

With a shared connection the master itself reads the keys: it gets ssh's standard input as a descriptor
(PROTOCOL.mux, section 3). Without a network they would wait in the master's buffers and arrive minutes
later. So ssh's input is a pseudo-terminal with the modes and the size of the user's terminal, and each key
is copied once. The output does not pass through here: ssh writes to the user's terminal directly.
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
_SIZE = "HHHH"  # rows, columns, and two in pixels: ioctl_tty(2)


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
        """Whether ssh reads single keys. ssh does so once it has a session."""
        if not self._open:
            self._open = not termios.tcgetattr(self.slave)[3] & termios.ICANON
        return self._open

    def send(self, keys: bytes, *, held: bool = False) -> None:
        """Pass keys on, as many as are accepted; the rest stays in `pending`.

        Keys are discarded while the connection is `held`, because nobody remembers later what they were meant for.
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
        """Adopt the size of the user's terminal; report whether it changed."""
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
        """Close our two descriptors; the master may still have its own."""
        os.close(self.master)
        os.close(self.slave)
