"""Report changed files through inotify(7)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from msgspec import Struct

IN_ACCESS, IN_MODIFY, IN_CLOSE_WRITE = 0x1, 0x2, 0x8  # linux/inotify.h
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x4000, 0x8000
IN_ONLYDIR, IN_ONESHOT = 0x0100_0000, 0x8000_0000
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Event(Struct, frozen=True):
    """One event: the number of its watch (-1: none), its bits, and the name of the file in the watched directory."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """An inotify descriptor. Raise OSError if the user has no more of them (EMFILE)."""

    def __init__(self) -> None:
        self._fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are events."""
        return self._fd

    def watch(self, path: bytes, mask: int) -> int:
        """Watch a file or directory, and return the number of the watch. One file has one number.

        Raise OSError; ENOSPC if the user has no more watches.
        """
        number = int(_libc.inotify_add_watch(self._fd, path, ctypes.c_uint32(mask)))
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fsdecode(path))
        return number

    def unwatch(self, number: int) -> None:
        """End a watch. It may have ended already."""
        _libc.inotify_rm_watch(self._fd, number)

    def read(self) -> Iterator[Event]:
        """Yield the events that wait."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            yield Event(number, mask, data[at : at + length].rstrip(b"\0"))
            at += length

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)
