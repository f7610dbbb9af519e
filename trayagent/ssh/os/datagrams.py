"""Find out whether datagrams (UDP, QUIC) may carry an ssh process: chooses the Linux or the macOS module."""

from __future__ import annotations

import sys

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_datagrams import may_use_datagrams
else:
    from trayagent.ssh.os.linux_datagrams import may_use_datagrams

__all__ = ["may_use_datagrams"]
