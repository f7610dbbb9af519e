"""Find the processes between a master and its TCP connection: chooses the Linux or the macOS module."""

from __future__ import annotations

import sys

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_flows import transport_of
else:
    from trayagent.ssh.os.linux_transport import transport_of

__all__ = ["transport_of"]
