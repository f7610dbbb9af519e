"""Watches the logs of the agent's masters. Sleeps while nothing is written there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from watchdog.events import FileModifiedEvent

from trayagent.agent.files.directory_watcher import Files

_LOG_NAME = re.compile(r"master-(\d+)\.log")


class Reader(Protocol):
    """Reads the new lines of a log."""

    def log_changed(self, pid: int, path: Path) -> None:
        """React to new lines in the log of a master."""


class MasterLogs:
    """Passes each change of a log to the readers."""

    def __init__(self, folder: Path, readers: Sequence[Reader]) -> None:
        self._folder = folder
        self._readers = readers
        self._files = Files(self, [FileModifiedEvent])

    def start(self) -> None:
        """Start to watch."""
        self._files.start()
        self._files.follow([self._folder])

    def close(self) -> None:
        """Stop watching."""
        self._files.close()

    def file_changed(self, path: Path) -> None:
        """Notify the readers if the file is the log of a master."""
        name = _LOG_NAME.fullmatch(path.name)
        if name is not None:
            for reader in self._readers:
                reader.log_changed(int(name[1]), path)
