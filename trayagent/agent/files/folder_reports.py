"""What both ways to watch files share: who receives the changes, and the log line if a folder cannot be watched."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_reported: set[object] = set()


def report(folder: Path, error: OSError) -> None:
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
