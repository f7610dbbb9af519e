"""Multipath TCP sockets (RFC 8684) for pre-connected connections: make one, and learn whether the server speaks it.

The kernel moves such a connection to another address, where the server speaks it too. It does not offer
TCP_USER_TIMEOUT, TCP_RTO_MAX_MS and TCP_QUICKACK on such a socket. If the server does not speak it, the socket is like
one of plain TCP from then on.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

IPPROTO_MPTCP = 262  # linux/in.h
_SOL_MPTCP, _MPTCP_INFO = 284, 1  # linux/socket.h, linux/mptcp.h; from Linux 5.16
_INFO_BYTES = 256
_ENABLED = Path("/proc/sys/net/mptcp/enabled")


def is_enabled() -> bool:
    """Report whether this machine offers Multipath TCP to programs."""
    try:
        return sys.platform == "linux" and _ENABLED.read_text().strip() == "1"
    except OSError:
        return False


def tcp_socket(family: socket.AddressFamily, *, mptcp: bool) -> socket.socket:
    """Return a new socket. Raises OSError if this machine offers no Multipath TCP."""
    return socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if mptcp else 0)


async def connect(one: socket.socket, address: Any) -> None:
    """Connect a socket that does not block to a numeric address. Raises OSError.

    The event loop's own `sock_connect` resolves the address once more, and the C library knows no Multipath TCP.
    """
    try:
        one.connect(address)
    except BlockingIOError:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(one, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(one)
        error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error)) from None


def speaks_mptcp(connected: socket.socket) -> bool:
    """Report whether an established connection uses Multipath TCP, so that its kernel can move it."""
    if connected.proto != IPPROTO_MPTCP:
        return False
    try:
        return bool(connected.getsockopt(_SOL_MPTCP, _MPTCP_INFO, _INFO_BYTES))
    except OSError:  # the connection fell back to plain TCP
        return False
