"""Wait for a new file in a directory, by inotify(7), so that the wait costs nothing until the file is there."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

_IN_MOVED_TO, _IN_CREATE, _IN_ONLYDIR = 0x80, 0x100, 0x0100_0000  # linux/inotify.h
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class _Watcher:
    """Watches the directories of all awaited files through one descriptor, because a user may have only 128 of these.

    Raise OSError without inotify.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, bytes] = {}
        self._awaited: dict[tuple[bytes, bytes], list[Callable[[], None]]] = {}
        loop.add_reader(self.fd, self._read)

    @property
    def idle(self) -> bool:
        return not self._awaited

    def add(self, folder: bytes, name: bytes, appeared: Callable[[], None]) -> None:
        mask = ctypes.c_uint32(_IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR)
        number = _libc.inotify_add_watch(
            self.fd, folder, mask
        )  # the same number for a folder that is watched
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self._folders[number] = folder
        self._awaited.setdefault((folder, name), []).append(appeared)

    def remove(self, folder: bytes, name: bytes, appeared: Callable[[], None]) -> None:
        waiting = self._awaited[folder, name]
        waiting.remove(appeared)
        if not waiting:
            del self._awaited[folder, name]

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(self.fd)
        os.close(self.fd)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, _, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            for appeared in self._awaited.get((self._folders.get(number, b""), name), ()):
                appeared()


_watcher: list[_Watcher] = []


class NewFile:
    """Calls back in the running loop each time a file is made at `path` or renamed to it. Raise OSError.

    The directory must exist. Close it.
    """

    def __init__(self, path: str, appeared: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        folder, name = os.path.split(os.fsencode(path))
        self._key, self._appeared = (folder, name), appeared
        if _watcher and _watcher[0].loop is not loop:  # left by a loop that ended
            _watcher.pop().close()
        if not _watcher:
            _watcher.append(_Watcher(loop))
        self._in = _watcher[0]
        try:
            self._in.add(*self._key, appeared)
        except OSError:
            self._close_idle()
            raise

    def close(self) -> None:
        """Stop watching."""
        self._in.remove(*self._key, self._appeared)
        self._close_idle()

    def _close_idle(self) -> None:
        if self._in.idle and _watcher and _watcher[0] is self._in:
            _watcher.pop().close()
