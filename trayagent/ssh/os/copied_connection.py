"""Copy the TCP connection of another process, to end it or to keep it from sending. On Linux only."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator

from trayagent.ssh.os.types import Flow

if sys.platform == "darwin":

    @contextlib.contextmanager
    def copy_of(flow: Flow) -> Iterator[socket.socket]:
        """Raise OSError, because macOS gives no process the socket of another one."""
        raise OSError(f"pid {flow.pid_of_holder}")
        yield
else:
    from trayagent.ssh.os.descriptor_of_process import duplicate
    from trayagent.ssh.os.linux_process import descriptors

    @contextlib.contextmanager
    def copy_of(flow: Flow) -> Iterator[socket.socket]:
        """Yield a copy of a connection. Raise OSError if the system does not permit that."""
        target = f"socket:[{flow.inode}]"
        number = next((fd for fd, to in descriptors(flow.pid_of_holder).items() if to == target), None)
        if number is None:
            raise FileNotFoundError(target)
        with duplicate(flow.pid_of_holder, number) as found:
            if os.fstat(found.fileno()).st_ino != flow.inode:
                raise FileNotFoundError(target)  # the process closed the socket meanwhile
            yield found


def shut_down(flow: Flow) -> bool:
    """Shut a connection down in both directions, so that its process sees it end. Return False if that failed."""
    try:
        with copy_of(flow) as found:
            found.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    return True


def mute(connection: socket.socket, *, muted: bool) -> None:
    """Keep the kernel from sending packets of a connection, not even for its end, or let it send again.

    An IPv4 packet of a socket with SO_DONTROUTE never gets a gateway. An IPv6 packet leaves, but no router forwards it
    with a hop limit of 0. Raise OSError if the connection is closed.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, int(muted))
    if connection.family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 0 if muted else -1)
