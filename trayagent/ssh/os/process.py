"""Read, signal and watch processes, with the module for Linux or for macOS."""

from __future__ import annotations

import sys

from trayagent.ssh.os.types import KillResult, Process

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_process import (
        PidWatch,
        age_s,
        alive,
        descendants,
        kill_checked,
        read,
        ssh_processes,
    )
else:
    from trayagent.ssh.os.linux_process import (
        PidWatch,
        age_s,
        alive,
        descendants,
        kill_checked,
        read,
        ssh_processes,
    )

__all__ = [
    "KillResult",
    "PidWatch",
    "Process",
    "age_s",
    "alive",
    "descendants",
    "kill_checked",
    "read",
    "ssh_processes",
]
