"""Read which user owns the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct

_UCRED = struct.Struct("=iII")  # unix(7): pid, uid, gid
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # macOS, sys/un.h
_XUCRED_BYTES = 76
_XUCRED = struct.Struct("=II")  # macOS, sys/ucred.h: version, uid, and then the groups


def peer_uid(sock: socket.socket) -> int | None:
    """Return the uid of the process that listens at the other end, or None if the kernel does not report it."""
    option = getattr(socket, "SO_PEERCRED", None)
    try:
        if option is not None:
            return int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])
        return int(_XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES))[1])
    except (OSError, struct.error):
        return None
