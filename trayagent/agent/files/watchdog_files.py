"""Watches folders with the threads of watchdog: FSEvents on macOS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from trayagent.agent.files.folder_reports import Listener, report

# No events for open and read, because our own reads would cause them. No event for each write, because a half-written
# file is useless: the event comes when the writer closes the file.
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
_EACH_WRITE: list[type[FileSystemEvent]] = [
    FileModifiedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirDeletedEvent,
]


class Files(FileSystemEventHandler):
    """Watches folders."""

    def __init__(self, listener: Listener, *, each_write: bool = False) -> None:
        """Prepare to pass the changes to the listener. With `each_write`, pass each write, and no new files."""
        self._listener = listener
        self._events = _EACH_WRITE if each_write else _EVENTS
        self._loop = asyncio.get_running_loop()
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, ObservedWatch] = {}
        self._real: dict[Path, str] = {}  # to which folders the watched ones led when their watch began

    def start(self) -> None:
        """Start the thread that watches. If that is impossible, each `follow` tries again."""
        try:
            observer = Observer()
        except OSError as error:
            report(Path(), error)
            return
        observer.start()
        self._observer = observer

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch exactly these folders. Skip missing folders, and those for which the kernel has no watch left."""
        if self._observer is None:
            self.start()
        if self._observer is None:
            return
        wanted = {f for f in folders if f.is_dir()}
        real = {f: os.path.realpath(f) for f in wanted}
        for folder in [f for f in self._watches if real.get(f) != self._real[f]]:
            self._observer.unschedule(self._watches.pop(folder))
        for folder in wanted - self._watches.keys():
            self._real[folder] = real[folder]
            try:
                self._watches[folder] = self._observer.schedule(
                    self, str(folder), event_filter=self._events, follow_symlink=True
                )
            except OSError as error:
                report(folder, error)

    def close(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(1.0)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass the event to the loop; called on the observer's thread."""
        paths = {event.src_path, event.dest_path} - {""}
        for path in paths:
            text = path.decode(errors="surrogateescape") if isinstance(path, bytes) else path
            if not self._loop.is_closed():
                gone = isinstance(event, DirDeletedEvent | DirMovedEvent)
                self._loop.call_soon_threadsafe(self._hear, Path(text), gone)

    def _hear(self, path: Path, gone: bool) -> None:
        """Pass on a change. Drop the watch of a folder that is gone, so that a new folder there can be watched."""
        if gone and self._observer is not None and path in self._watches:
            self._observer.unschedule(self._watches.pop(path))
        self._listener.file_changed(path)
