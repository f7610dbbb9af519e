"""Find the control paths that masters listen on, and their owners, with the module for Linux or for macOS."""

from __future__ import annotations

import os
import socket
import stat
import sys

from trayagent.ssh.os.types import ControlSocket

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_control_sockets import bound_by_master, clients_of, listening, owner_of
else:
    from trayagent.ssh.os.linux_control_sockets import bound_by_master, clients_of, listening, owner_of

__all__ = ["ControlSocket", "accepts", "bound_by_master", "clients_of", "is_dead", "listening", "owner_of"]


def accepts(path: str) -> bool:
    """Report whether a process in any namespace listens on the file at `path`; never blocks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True  # the accept queue is full: the listener is suspended or busy, but alive
        except OSError:
            return False
        return True


def is_dead(path: str) -> bool:
    """Report whether the file at `path` is a socket of this user on which no process in any namespace listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            found = os.lstat(path)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
                return False
            sock.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # the listener is busy, or it is another kind of socket
            return False
        return False
