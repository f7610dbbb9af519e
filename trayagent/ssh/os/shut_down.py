"""Shut down the TCP connection of another process, so that the process sees the connection end. On Linux only."""

from __future__ import annotations

import sys

from trayagent.ssh.os.types import Flow

if sys.platform == "darwin":

    def shut_down(flow: Flow) -> bool:
        """Return False, because macOS gives no process the socket of another one."""
        del flow
        return False
else:
    import ctypes
    import os
    import socket

    from trayagent.ssh.os.linux_process import descriptors

    def shut_down(flow: Flow) -> bool:
        """Shut a connection down in both directions. Return False if the system does not permit that.

        Source: pidfd_getfd(2), Linux 5.6. It needs the permission to trace the process, which Yama may refuse (Ubuntu).
        """
        target = f"socket:[{flow.inode}]"
        number = next((fd for fd, to in descriptors(flow.pid_of_holder).items() if to == target), None)
        if number is None:
            return False
        try:
            with _duplicate(flow.pid_of_holder, number) as found:
                if os.fstat(found.fileno()).st_ino != flow.inode:  # the process closed the socket meanwhile
                    return False
                found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True

    def _duplicate(pid: int, number: int) -> socket.socket:
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
