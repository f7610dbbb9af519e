"""What stands in a host's way on this machine, and the moment that it is gone; no look in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from trayagent.core.facts.events import Event, ObstacleGone
from trayagent.core.facts.hosts import Host
from trayagent.core.policy.retry import LOCAL_KINDS
from trayagent.ssh.os.process import PidWatch


class Obstacles:
    """Waits for the end of programs that hold a control path; of files it is told by whoever watches folders."""

    def __init__(self, post: Callable[[Event], None]) -> None:
        self._post = post
        self._holders: dict[str, PidWatch] = {}

    def held(self, name: str, pid: int | None) -> None:
        """Wait for the end of the process that listens on this host's control path; it may leave its file behind.

        None: it cannot be seen, only its file.
        """
        self._forget(name)
        if pid is None:
            return
        self._holders[name] = PidWatch(pid, partial(self._gone, name))

    def changed(self, path: Path, hosts: Iterable[Host], control_path: Callable[[Host], str]) -> None:
        """Say whose way is free now: a file or folder of this name was made or removed."""
        for host in hosts:
            if host.retry.kind not in LOCAL_KINDS:
                continue
            wanted = Path(control_path(host))
            removed = path == wanted and not path.exists()
            made = wanted.is_relative_to(path) and path != wanted and wanted.parent.is_dir()
            if removed or made:
                self._gone(host.name)

    def close(self) -> None:
        """Wait no more."""
        for name in [*self._holders]:
            self._forget(name)

    def _gone(self, name: str) -> None:
        self._forget(name)
        self._post(ObstacleGone(time.monotonic(), name))

    def _forget(self, name: str) -> None:
        watch = self._holders.pop(name, None)
        if watch is not None:
            watch.close()


def nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists: there the next one would appear."""
    return next((f for f in (folder, *folder.parents) if f.is_dir()), folder)
