"""Watches folders on Linux. The event loop reads the kernel's reports, without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from trayagent.agent.files.folder_reports import Listener, report
from trayagent.ssh.os import linux_inotify as ino

# Not IN_ACCESS and IN_OPEN, because our own reads would cause them.
_ALWAYS = ino.IN_MOVED_FROM | ino.IN_MOVED_TO | ino.IN_DELETE | ino.IN_DELETE_SELF | ino.IN_MOVE_SELF
# Not each write, because a half-written file is useless: the event comes when the writer closes the file.
_WHOLE_FILES = _ALWAYS | ino.IN_CREATE | ino.IN_CLOSE_WRITE
_EACH_WRITE = _ALWAYS | ino.IN_MODIFY
_GONE = ino.IN_DELETE_SELF | ino.IN_MOVE_SELF


class Files:
    """Watches folders. With `each_write`, it reports each write to an existing file, and no new files."""

    def __init__(self, listener: Listener, *, each_write: bool = False) -> None:
        self._listener = listener
        self._mask = ino.IN_ONLYDIR | (_EACH_WRITE if each_write else _WHOLE_FILES)
        self._inotify: ino.Inotify | None = None
        self._watches: dict[Path, int] = {}
        self._real: dict[Path, str] = {}  # to which folders the watched ones led when their watch began

    def start(self) -> None:
        """Start to watch. If that is impossible, each `follow` tries again."""
        try:
            self._inotify = ino.Inotify()
        except OSError as error:
            report(Path(), error)
            return
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch exactly these folders. Skip missing folders, and those for which the kernel has no watch left."""
        if self._inotify is None:
            self.start()
        if self._inotify is None:
            return
        wanted = {f for f in folders if f.is_dir()}
        real = {f: os.path.realpath(f) for f in wanted}
        for folder in [f for f in self._watches if real.get(f) != self._real[f]]:
            self._forget(self._inotify, folder)
        for folder in wanted - self._watches.keys():
            self._real[folder] = real[folder]
            try:
                self._watches[folder] = self._inotify.watch(os.fsencode(folder), self._mask)
            except OSError as error:
                report(folder, error)

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _forget(self, inotify: ino.Inotify, folder: Path) -> None:
        number = self._watches.pop(folder)
        if number not in self._watches.values():  # two paths may lead to one folder
            inotify.unwatch(number)

    def _read(self) -> None:
        """Report each changed file once, however often it changed."""
        inotify = self._inotify
        if inotify is None:
            return
        changed = dict[Path, None]()
        for event in inotify.read():
            if event.mask & ino.IN_Q_OVERFLOW:  # changes were lost: have each folder checked again
                changed.update(dict.fromkeys(self._watches))
            for folder in [path for path, number in self._watches.items() if number == event.watch]:
                if event.mask & _GONE:  # drop the watch, so that a new folder there can be watched
                    self._forget(inotify, folder)
                    changed[folder] = None
                elif event.mask & ino.IN_IGNORED:
                    del self._watches[folder]
                elif event.name:
                    changed[folder / os.fsdecode(event.name)] = None
        for path in changed:
            self._listener.file_changed(path)
