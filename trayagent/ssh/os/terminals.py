"""Find the terminal of a process, on Linux only."""

from __future__ import annotations

import sys

if sys.platform == "darwin":

    def terminal_of(pid: int) -> str:
        """Return "", because lsof would take too long for many processes."""
        del pid
        return ""
else:
    from trayagent.ssh.os.linux_process import descriptors

    def terminal_of(pid: int) -> str:
        """Return the terminal that a process reads or writes, such as "pts/3", "" if there is none."""
        found = (descriptors(pid).get(fd, "") for fd in range(3))
        return next((target.removeprefix("/dev/") for target in found if target.startswith(_TERMINALS)), "")

    _TERMINALS = ("/dev/pts/", "/dev/tty")
