"""Detects without polling when the obstacle to a host's control path is gone, so that the host can be connected."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from trayagent.agent.event_loop import Shell
from trayagent.agent.masters.discovery import Discovery
from trayagent.core.facts.events import ObstacleGone
from trayagent.core.policy.logins.when_to_retry import LOCAL_KINDS
from trayagent.ssh.os.process import PidWatch


class Obstacles:
    """Waits for the end of programs that occupy a control path. `FileChanges` reports changed files (`changed`)."""

    def __init__(self, shell: Shell, discovery: Discovery) -> None:
        self._shell = shell
        self._discovery = discovery
        self._holders: dict[str, PidWatch] = {}

    def held(self, name: str, pid: int | None) -> None:
        """Watch for the end of the process that occupies this host's control path. Its socket file may remain then.

        If `pid` is None, no process is visible, so only a change of the file shows that the obstacle is gone.
        """
        self._forget(name)
        if pid is None:
            return
        self._holders[name] = PidWatch(pid, partial(self._gone, name))

    def changed(self, path: Path) -> None:
        """Post an event for each host whose obstacle is gone because a file or folder was created or removed."""
        for host in self._shell.state.hosts.values():
            if host.retry.kind not in LOCAL_KINDS:
                continue
            wanted = Path(self._discovery.control_path(host))
            removed = path == wanted and not path.exists()
            made = wanted.is_relative_to(path) and path != wanted and wanted.parent.is_dir()
            if removed or made:
                self._gone(host.name)

    def close(self) -> None:
        """Stop waiting."""
        for name in [*self._holders]:
            self._forget(name)

    def _gone(self, name: str) -> None:
        self._forget(name)
        self._shell.post(ObstacleGone(time.monotonic(), name))

    def _forget(self, name: str) -> None:
        watch = self._holders.pop(name, None)
        if watch is not None:
            watch.close()


def nearest(folder: Path) -> Path:
    """Return the folder if it exists, else its nearest existing ancestor: there, the next folder would appear."""
    return next((f for f in (folder, *folder.parents) if f.is_dir()), folder)
