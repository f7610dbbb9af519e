"""Which control paths masters listen on, and whose they are: from Linux or from macOS, which tell the same."""

from __future__ import annotations

import sys

from trayagent.ssh.seen import ControlSocket

if sys.platform == "darwin":
    from trayagent.ssh.macos_control_sockets import listening, owner_of
else:
    from trayagent.ssh.linux_control_sockets import listening, owner_of

__all__ = ["ControlSocket", "listening", "owner_of"]
