"""Which control paths masters listen on, and whose they are: from Linux or from macOS, which tell the same."""

from __future__ import annotations

import socket
import sys

from trayagent.ssh.os.types import ControlSocket

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_control_sockets import listening, owner_of
else:
    from trayagent.ssh.os.linux_control_sockets import listening, owner_of

__all__ = ["ControlSocket", "accepts", "listening", "owner_of"]


def accepts(path: str) -> bool:
    """Report whether anybody listens on the file at `path`, in whatever namespace; returns at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True  # its queue is full: it is stopped or busy, and lives
        except OSError:
            return False
        return True
