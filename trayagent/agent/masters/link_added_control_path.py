"""Lets a ControlPath that was added to ssh_config lead to the living master, whose socket is in the runtime directory.

A socket cannot be moved to another file system. So the new path becomes a symbolic link to the socket, until the next
master of the host listens there itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.masters.own_control_path_links import is_own_link
from trayagent.agent.parts import Parts
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.ssh.os.control_sockets import accepts

log = logging.getLogger(__name__)


class PathLinks:
    """Keeps one link for each host whose master listens elsewhere than on its ControlPath."""

    def __init__(self, parts: Parts, discovery: Discovery) -> None:
        self._discovery = discovery
        self._sockets = parts.file_paths.runtime_dir / "cm"
        self._seen: dict[str, tuple[str, str | None]] = {}

    def follow(self, state: State) -> None:
        """Make and remove links where a control path or a master changed."""
        for host in state.hosts.values():
            if host.resolved is None or host.resolved.control_path is None or host.draining is not None:
                continue
            master = host.master
            now = (host.resolved.control_path, master.control_path if master is not None else None)
            if self._seen.get(host.name) != now:
                self._seen[host.name] = now
                self._update(host, *now)
        self._seen = {name: seen for name, seen in self._seen.items() if name in state.hosts}

    def _update(self, host: Host, path: str, socket: str | None) -> None:
        wanted = socket if socket is not None and Path(socket).parent == self._sockets else None
        if wanted == path or self._discovery.control_path(host) != path:
            return
        with contextlib.suppress(OSError):
            if is_own_link(path, self._sockets) and not accepts(path):
                Path(path).unlink()
            if wanted is not None and not os.path.lexists(path):
                Path(path).symlink_to(wanted)
                log.info("%s: %s leads to the living master now", host.name, path)
