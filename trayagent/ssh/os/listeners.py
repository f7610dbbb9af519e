"""Find the TCP ports that processes listen on, with the module for Linux or for macOS."""

from __future__ import annotations

import sys

from trayagent.ssh.os.types import Listener, Listeners

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_listeners import all_listeners, tcp_listeners
else:
    from trayagent.ssh.os.linux_listeners import all_listeners, tcp_listeners

__all__ = ["Listener", "Listeners", "all_listeners", "tcp_listeners"]
