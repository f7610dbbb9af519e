"""The keys on their way to ssh: through a terminal of our own, so that they can be held back.

A passenger's keys are read by the master itself, which gets ssh's standard input as a descriptor
(PROTOCOL.mux, section 3). While there is no network they would wait in its buffers and arrive
minutes later. So ssh's input is a terminal of ours, with the modes and the size of the person's,
and a key costs one copy. The output does not come by here: ssh has the person's terminal for that.
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
    """A terminal whose `slave` is ssh's input; `master` is for select(2). Closed by `close`."""

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
        """Whether ssh takes key by key, which it does once it has a session."""
        if not self._open:
            self._open = not termios.tcgetattr(self.slave)[3] & termios.ICANON
        return self._open

    def send(self, keys: bytes) -> None:
        """Pass keys on, as far as they are taken; the rest is `pending`."""
        self.pending += keys
        with contextlib.suppress(BlockingIOError):
            while self.pending:
                self.pending = self.pending[os.write(self.master, self.pending) :]

    def drop_echo(self) -> None:
        """Throw away what comes back: the echo of keys that were typed before ssh turned it off."""
        with contextlib.suppress(OSError):
            while os.read(self.master, _CHUNK):
                pass

    def fit(self, *, rows_less: int = 0) -> bool:
        """Take on the size of the person's terminal; report whether it is another one now."""
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
        """Close our ends; the master may still have its own."""
        os.close(self.master)
        os.close(self.slave)
