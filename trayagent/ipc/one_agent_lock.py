"""A lock that ensures one agent per user and runtime directory. The kernel releases it when the holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from trayagent.ipc.errors import AlreadyRunning

PID_WRITTEN_WITHIN_S = 0.2  # the holder writes its pid right after it takes the lock


class Lock:
    """The lock file, held from `acquire` until `release` or the end of the process.

    The file is not removed at the release. Otherwise two agents could hold locks on two files of this name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our pid to the file. Raises AlreadyRunning with the holder's pid."""
        self._fd = self._taken()

    def acquire_again(self) -> None:
        """Take the lock at the path, where another file or no file is now. Raises AlreadyRunning.

        The lock on the removed file is kept until then.
        """
        fd = self._taken()
        self.release()
        self._fd = fd

    @property
    def in_place(self) -> bool:
        """Whether the lock is held on the file at the path."""
        return self._fd is not None and _is_at(self._path, self._fd)

    def _taken(self) -> int:
        """Return a descriptor of the file at the path, which holds the lock and has our pid. Raises AlreadyRunning."""
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _holder(fd)
                os.close(fd)
                raise AlreadyRunning(pid) from None
            if _is_at(self._path, fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
            os.close(fd)  # a program that cleans up old files removed it meanwhile, so our lock is void

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _is_at(path: Path, fd: int) -> bool:
    """Report whether the path still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _holder(fd: int) -> int | None:
    deadline = time.monotonic() + PID_WRITTEN_WITHIN_S
    while True:
        text = os.pread(fd, 32, 0).strip()
        if text.isdigit():
            return int(text)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)
