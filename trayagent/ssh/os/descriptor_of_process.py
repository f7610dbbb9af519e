"""Duplicate a socket of another process, where the system permits that. On Linux only.

Source: pidfd_getfd(2), Linux 5.6. It needs the permission to trace the process. Yama may refuse that, for a process
that the agent did not start (Ubuntu) or for every process.
"""

from __future__ import annotations

import socket
import sys

if sys.platform == "darwin":

    def duplicate(pid: int, number: int) -> socket.socket:
        """Raise OSError, because macOS gives no process the socket of another one."""
        raise OSError(f"pid {pid}, descriptor {number}")
else:
    import ctypes
    import os

    def duplicate(pid: int, number: int) -> socket.socket:
        """Return a duplicate of a process's socket. Raise OSError if the system refuses it, or if it is no socket."""
        pidfd = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        try:
            fd = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, number, 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
        finally:
            os.close(pidfd)
        try:
            return socket.socket(fileno=fd)
        except OSError:  # another file has this number now
            os.close(fd)
            raise

    _PIDFD_GETFD = 438  # the same number on each architecture that Python supports


def send_to_output(pid: int, connection: socket.socket) -> bool:
    """Send a connection through the socket that is the standard output of a process. Report whether that worked."""
    try:
        with duplicate(pid, 1) as output:
            socket.send_fds(output, [b"\0"], [connection.fileno()])
    except OSError:
        return False
    return True
