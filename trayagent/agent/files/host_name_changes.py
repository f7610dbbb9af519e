"""Reports when this machine's name changes, because %C, %l and %L in ssh_config depend on it.

Linux only: a poll(2) on /proc/sys/kernel/hostname returns POLLERR and POLLPRI after sethostname(2). Nothing wakes up
before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
from collections.abc import Callable

_FILE = "/proc/sys/kernel/hostname"


class HostNameChanges:
    """Calls a function after each change of this machine's name."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._name = socket.gethostname()
        self._close = contextlib.ExitStack()

    def start(self) -> None:
        """Begin to watch on the running loop. Do nothing where the kernel reports no change."""
        if sys.platform != "linux":
            return
        with contextlib.suppress(OSError), contextlib.ExitStack() as undo:
            file = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, file)
            # The file is always readable, so the loop cannot watch it. It can watch an epoll that waits for POLLPRI.
            poll = select.epoll()
            undo.callback(poll.close)
            poll.register(file, select.EPOLLPRI)
            poll.poll(0)
            loop = asyncio.get_running_loop()
            loop.add_reader(poll.fileno(), self._woken, poll)
            undo.callback(loop.remove_reader, poll.fileno())
            self._close = undo.pop_all()

    def close(self) -> None:
        """Stop watching."""
        self._close.close()

    def _woken(self, poll: object) -> None:
        poll.poll(0)  # type: ignore[attr-defined]  # select.epoll does not exist on macOS
        name = socket.gethostname()
        if name != self._name:  # the kernel also reports changes in other containers
            self._name = name
            self._changed()
