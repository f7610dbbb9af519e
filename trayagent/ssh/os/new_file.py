"""Wait for a new file, with the module for Linux. macOS has no cheap way."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

if sys.platform == "linux":
    from trayagent.ssh.os.linux_new_file import NewFile
else:

    class NewFile:
        """Stands for the class of Linux. The constructor raises OSError."""

        def __init__(self, _path: str, _appeared: Callable[[], None]) -> None:
            raise OSError(errno.ENOSYS, "this system does not report new files in a directory")

        def close(self) -> None:
            """Do nothing."""


__all__ = ["NewFile"]
