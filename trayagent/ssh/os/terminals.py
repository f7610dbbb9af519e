"""Find the terminal of a process, on Linux only."""

from __future__ import annotations

import sys

if sys.platform == "darwin":

    def terminal_of(pid: int) -> str:
        """Return "", because lsof would take too long for many processes."""
        del pid
        return ""

    def reads_terminal(pid: int) -> bool:
        """Return True, because this is unknown on macOS."""
        del pid
        return True

    def prints_to_terminal(pid: int) -> bool:
        """Return False, because this is unknown on macOS."""
        del pid
        return False
else:
    from trayagent.ssh.os.linux_process import descriptor, descriptors

    def terminal_of(pid: int) -> str:
        """Return the terminal that a process reads or writes, such as "pts/3", "" if there is none."""
        found = (descriptors(pid).get(fd, "") for fd in range(3))
        return next((target.removeprefix("/dev/") for target in found if target.startswith(_TERMINALS)), "")

    def reads_terminal(pid: int) -> bool:
        """Report whether the standard input of a process is a terminal. Only then does ssh change its mode."""
        return descriptor(pid, 0).startswith(_TERMINALS)

    def prints_to_terminal(pid: int) -> bool:
        """Report whether the standard error of a process is a terminal."""
        return descriptor(pid, 2).startswith(_TERMINALS)

    _TERMINALS = ("/dev/pts/", "/dev/tty")
