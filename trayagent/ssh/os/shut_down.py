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
    import os
    import socket

    from trayagent.ssh.os.descriptor_of_process import duplicate
    from trayagent.ssh.os.linux_process import descriptors

    def shut_down(flow: Flow) -> bool:
        """Shut a connection down in both directions. Return False if the system does not permit that."""
        target = f"socket:[{flow.inode}]"
        number = next((fd for fd, to in descriptors(flow.pid_of_holder).items() if to == target), None)
        if number is None:
            return False
        try:
            with duplicate(flow.pid_of_holder, number) as found:
                if os.fstat(found.fileno()).st_ino != flow.inode:  # the process closed the socket meanwhile
                    return False
                found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True
