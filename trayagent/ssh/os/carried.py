"""Count what a master carries, with the module for Linux or for macOS."""

from __future__ import annotations

import sys

from trayagent.ssh.os.types import Carried

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_carried import carried_by, clients_of_master, sessions_of
else:
    from trayagent.ssh.os.linux_carried import carried_by, clients_of_master, sessions_of

__all__ = ["Carried", "carried_by", "clients_of_master", "sessions_of"]
