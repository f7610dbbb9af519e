"""Make the kernel acknowledge the packets of a login at once."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys

from trayagent.ssh.master.mptcp_socket import speaks_mptcp


class QuickAcknowledgements:
    """Makes the kernel acknowledge data at once, so that the server does not wait before it sends more.

    OpenSSH's sshd sets TCP_NODELAY only at the first session (session.c, do_exec). Until then it may wait for an
    acknowledgement, which the laptop's kernel delays by 40 ms. TCP_QUICKACK does not last (tcp(7)), so it is set again
    whenever data arrives.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._arrivals: select.epoll | None = None  # type: ignore[name-defined, unused-ignore]  # Linux only

    def begin(self, connected: socket.socket) -> None:
        """Watch the connection through a second descriptor; call `close` soon, because this keeps it open."""
        if sys.platform != "linux" or speaks_mptcp(connected):  # the kernel has no such option there
            return
        self._socket = connected.dup()
        self._arrivals = select.epoll()
        self._arrivals.register(self._socket, select.EPOLLIN | select.EPOLLET)
        asyncio.get_running_loop().add_reader(self._arrivals, self._arrived)

    def close(self) -> None:
        """Stop watching and close the second descriptor."""
        if self._arrivals is None or self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._arrivals)
        self._arrivals.close()
        self._socket.close()
        self._arrivals = self._socket = None

    def _arrived(self) -> None:
        if self._arrivals is not None and self._socket is not None:
            self._arrivals.poll(0)
            with contextlib.suppress(OSError):  # a Multipath TCP socket that fell back, on an older kernel
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # type: ignore[attr-defined, unused-ignore]  # Linux only
