"""The Unix sockets on this machine that local forwards created. ssh leaves their files and then cannot listen there."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from trayagent.agent.state.record_types import KeptSocket
from trayagent.agent.state.records import Records
from trayagent.core.facts.forwards import Forward
from trayagent.errors import TrayagentError
from trayagent.ssh.os.control_sockets import owner_of

_KEPT = 64  # far more sockets than one user has forwards


class LocalSockets:
    """Records the files, and removes a file on which no process listens any more."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def made(self, pid: int, opened: Iterable[Forward]) -> None:
        """Record the files on which this master listens."""
        found = dict(self._records.local_sockets())
        for path in (f.listen.path for f in opened if f.kind != "remote"):
            kept = _identity(path) if path is not None else None
            if path is None or kept is None or kept == found.get(path) or not _listens(pid, path):
                continue
            found.pop(path, None)
            found[path] = kept
        self._records.set_local_sockets(dict(list(found.items())[-_KEPT:]))

    def remove_dead(self, path: str) -> None:
        """Remove the file if it is on record and no process listens on it."""
        kept = self._records.local_sockets().get(path)
        if kept is None or kept != _identity(path) or is_alive(path):
            return
        with contextlib.suppress(OSError):
            Path(path).unlink()


def is_alive(path: str) -> bool:
    """Report whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return False
        except (OSError, ValueError):
            return True  # the listener's backlog is full, or the user may not connect
    return True


def _identity(path: str) -> KeptSocket | None:
    """Return what distinguishes this socket's file from a later one, None if there is no such file of this user."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not path.startswith("/") or not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        return None
    return KeptSocket(found.st_ino, found.st_mtime_ns)


def _listens(pid: int, path: str) -> bool:
    try:
        return owner_of(path, likely=pid) == pid
    except TrayagentError:
        return False
