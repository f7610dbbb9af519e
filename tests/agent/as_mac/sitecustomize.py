"""Makes this interpreter's system look like a Mac to this project, for tests.

Parts that Linux has and macOS lacks are removed: /proc, netlink, pidfds, epoll, D-Bus. A kqueue that reports the
end of a process is added. A routing socket is not available. ps and lsof are real.
"""

import asyncio  # noqa: F401  # loaded before the change, because it chooses by platform at its import
import os
import select
import shutil  # noqa: F401  # as above
import signal
import socket
import subprocess  # noqa: F401  # as above
import sys
import time

import watchdog.observers  # noqa: F401  # as above

_pidfd_open, _epoll, _read_event = os.pidfd_open, select.epoll, select.EPOLLIN  # type: ignore[attr-defined, unused-ignore]  # Linux only


class Kqueue:
    """The part of select.kqueue that waits for the end of one process."""

    def __init__(self) -> None:
        self._epoll, self._pidfd = _epoll(), -1

    def fileno(self) -> int:
        """Return a descriptor that is readable once the process has ended."""
        return self._epoll.fileno()  # type: ignore[no-any-return, unused-ignore]  # Linux only

    def control(self, changes: list[tuple[int, int, int, int]], most: int) -> None:
        """Begin to watch."""
        assert most == 0
        ((pid, which, flags, what),) = changes
        assert (which, flags, what) == (-5, 0x1 | 0x10, 0x80000000)
        self._pidfd = _pidfd_open(pid)
        self._epoll.register(self._pidfd, _read_event)

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)


def _as_on_a_mac(event: str, args: tuple[object, ...]) -> None:
    if event in {"open", "os.listdir", "os.scandir"} and str(args[0]).startswith("/proc"):
        raise FileNotFoundError(2, "there is no /proc on a Mac", args[0])
    if event == "socket.__new__" and args[1] in {16, 17}:
        raise OSError(43, "Protocol not supported")
    if event == "import" and str(args[0]).startswith(
        ("dbus_fast", "trayagent.ssh.linux_", "trayagent.net.linux_")
    ):
        raise ImportError(f"{args[0]} is for Linux")


for _module, _names in (
    (os, "pidfd_open waitid pipe2"),
    (select, "epoll EPOLLET"),
    (signal, "pidfd_send_signal"),
    (socket, "AF_NETLINK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED TCP_QUICKACK"),
    (time, "CLOCK_BOOTTIME"),
):
    for _name in _names.split():
        delattr(_module, _name)
for _name, _value in (("FILTER_PROC", -5), ("EV_ADD", 0x1), ("EV_ONESHOT", 0x10), ("NOTE_EXIT", 0x80000000)):
    setattr(select, f"KQ_{_name}", _value)
setattr(select, "kqueue", Kqueue)  # noqa: B010  # Linux has none
setattr(select, "kevent", lambda *fields: fields)  # noqa: B010  # as above
setattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC_RAW)  # noqa: B010  # as above
sys.platform = "darwin"
sys.addaudithook(_as_on_a_mac)
