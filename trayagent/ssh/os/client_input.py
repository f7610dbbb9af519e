"""Report when a master reads data of its user's programs. Only Linux has such reports."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from trayagent.ssh.os.types import Flow

if sys.platform == "linux":
    from trayagent.ssh.os.linux_client_input import ClientInput
    from trayagent.ssh.os.linux_process import own_inodes
    from trayagent.ssh.os.linux_tcp_connection import retransmissions
else:

    class ClientInput:
        """Stands for the class of Linux. The constructor raises OSError."""

        def __init__(self, _has_read: Callable[[int], None]) -> None:
            raise OSError(errno.ENOSYS, "this system does not report when a process reads")

        def fileno(self) -> int:
            """Return nothing useful."""
            return -1

        def arm(self, pid: int, flow: Flow, ours: AbstractSet[int]) -> None:
            """Do nothing."""

        def disarm(self, pid: int) -> None:
            """Do nothing."""

        def read(self) -> None:
            """Do nothing."""

        def close(self) -> None:
            """Do nothing."""

    def own_inodes() -> frozenset[int]:
        """Return an empty set."""
        return frozenset()

    def retransmissions(_inodes: AbstractSet[int]) -> dict[int, int]:
        """Return an empty dictionary."""
        return {}


__all__ = ["ClientInput", "own_inodes", "retransmissions"]
