"""Which TCP ports a process listens on: from Linux or from macOS."""

from __future__ import annotations

import sys

from trayagent.ssh.seen import Listeners

if sys.platform == "darwin":
    from trayagent.ssh.macos_listeners import tcp_listeners
else:
    from trayagent.ssh.linux_listeners import tcp_listeners

__all__ = ["Listeners", "tcp_listeners"]
