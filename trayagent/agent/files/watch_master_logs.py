"""Watches the runtime directory and the masters' logs in it, and keeps them short. Sleeps while nothing is written."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from trayagent.agent.files.directory_watcher import Files, Listener
from trayagent.ssh.master import master_logs

_PAUSE_S = 0.1  # ssh logs each connection to a forward, and a program may make hundreds of them in a second
_LOG_NAME = re.compile(r"master-(\d+)\.(?:log|err)")


class Reader(Protocol):
    """Reads the new lines of a log."""

    def log_changed(self, pid: int, path: Path) -> None:
        """React to new lines in the log of a master."""


class MasterLogs:
    """Passes each change of a log to the readers, and every other change in the folder to `others`.

    A log that grew too long is emptied after the readers have read it.
    """

    def __init__(self, folder: Path, readers: Sequence[Reader], others: Listener) -> None:
        self._folder = folder
        self._readers = readers
        self._others = others
        self._files = Files(self, each_write=True)
        self._pauses: dict[Path, asyncio.TimerHandle] = {}
        self._changed: set[Path] = set()  # the logs that changed during their pause

    def start(self) -> None:
        """Start to watch."""
        self._files.start()
        self.follow()

    def follow(self) -> None:
        """Watch the folder; needed again if it was removed and made again."""
        for log in self._folder.glob("master-*.log"):  # they may have grown while no agent ran
            master_logs.shorten(log)
        self._files.follow([])
        self._files.follow([self._folder])

    def close(self) -> None:
        """Stop watching."""
        self._files.close()
        for pause in self._pauses.values():
            pause.cancel()

    def file_changed(self, path: Path) -> None:
        """If the file is a log of a master, which still exists, notify the readers and keep it short."""
        name = _LOG_NAME.fullmatch(path.name)
        if name is None:
            self._others.file_changed(path)
            return
        if not path.exists():
            return
        if path in self._pauses:
            self._changed.add(path)
            return
        self._pauses[path] = asyncio.get_running_loop().call_later(_PAUSE_S, self._continue, path)
        log = path.with_suffix(".log")
        if path == log:
            for reader in self._readers:
                reader.log_changed(int(name[1]), path)
        master_logs.shorten(log)

    def _continue(self, path: Path) -> None:
        del self._pauses[path]
        if path in self._changed:
            self._changed.discard(path)
            self.file_changed(path)
