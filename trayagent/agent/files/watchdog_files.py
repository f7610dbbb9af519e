"""Watches files: the configuration, ssh's files, keys, and new sockets. Sleeps while nothing changes."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

log = logging.getLogger(__name__)

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


_reported: set[object] = set()


def _report(folder: Path, error: OSError) -> None:
    """Log once why the folder is not watched; a limit of the kernel only once for all folders."""
    limits = {errno.EMFILE: "max_user_instances", errno.ENOSPC: "max_user_watches"}
    key = error.errno if error.errno in limits else folder
    if key in _reported:
        return
    _reported.add(key)
    if error.errno in limits:
        what = "Changed files are noticed late or not at all, because the limit fs.inotify.%s is reached"
        log.warning(what, limits[error.errno])
    else:
        log.warning("%s cannot be watched: %s", folder, error)


class Listener(Protocol):
    """Receives the changes."""

    def file_changed(self, path: Path) -> None:
        """React to a changed file or a new folder; called in the event loop."""


class Files(FileSystemEventHandler):
    """Watches folders."""

    def __init__(self, listener: Listener, events: list[type[FileSystemEvent]] = _EVENTS) -> None:
        """Prepare to pass the changes of these kinds to the listener."""
        self._listener = listener
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, ObservedWatch] = {}

    def start(self) -> None:
        """Start the thread that watches. If that is impossible, each `follow` tries again."""
        try:
            observer = Observer()
        except OSError as error:
            _report(Path(), error)
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
        for folder in self._watches.keys() - wanted:
            self._observer.unschedule(self._watches.pop(folder))
        for folder in wanted - self._watches.keys():
            try:
                self._watches[folder] = self._observer.schedule(self, str(folder), event_filter=self._events)
            except OSError as error:
                _report(folder, error)

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
