"""Identify the peer of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct


def is_other_user(sock: socket.socket) -> bool:
    """Report whether the peer is certainly another user (unix(7), SO_PEERCRED).

    If the kernel cannot tell, return False. Then the modes of the directory (0700) and the socket (0600) protect us.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return False
    _pid, uid, _gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("iII")))
    return bool(uid != os.geteuid())
