"""Wait for a new file in a directory, so that the wait costs nothing until the file is there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from trayagent.ssh.os.linux_inotify import IN_CREATE, IN_MOVED_TO, IN_ONLYDIR, Inotify


class _Watcher:
    """Watches the directories of all awaited files through one descriptor, because a user may have only 128 of these.

    Raise OSError without inotify.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._inotify = Inotify()
        self._folders: dict[int, bytes] = {}
        self._awaited: dict[tuple[bytes, bytes], list[Callable[[], None]]] = {}
        loop.add_reader(self._inotify.fileno(), self._read)

    @property
    def idle(self) -> bool:
        return not self._awaited

    def add(self, folder: bytes, name: bytes, appeared: Callable[[], None]) -> None:
        number = self._inotify.watch(folder, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
        self._folders[number] = folder
        self._awaited.setdefault((folder, name), []).append(appeared)

    def remove(self, folder: bytes, name: bytes, appeared: Callable[[], None]) -> None:
        waiting = self._awaited[folder, name]
        waiting.remove(appeared)
        if not waiting:
            del self._awaited[folder, name]

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(self._inotify.fileno())
        self._inotify.close()

    def _read(self) -> None:
        for event in self._inotify.read():
            for appeared in self._awaited.get((self._folders.get(event.watch, b""), event.name), ()):
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
