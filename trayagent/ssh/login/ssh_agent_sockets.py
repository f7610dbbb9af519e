"""Classify an ssh-agent socket: a working ssh-agent of this user, or one that sshd forwards from another machine."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Literal

from trayagent.ssh.login.read_keys import identities
from trayagent.ssh.os.process import read

Kind = Literal["usable", "silent", "forwarded", "not-ours"]
"""`silent`: no ssh-agent answers there. `not-ours`: the socket of another user, or not a socket."""

_CONNECT_S = 1.0
_SERVERS = frozenset({"sshd", "sshd-session", "dropbear"})
# The socket names of forwarded ssh-agents, from OpenSSH 10.1 on and with Dropbear. Older sshd versions use the same
# names as ssh-agent(1).
_FORWARDED_NAME = re.compile(r"/\.ssh/agent/s\.[^/]*\.sshd\.[^/]*$|/dropbear-[^/]*/auth-[^/]*$")
_LOCAL_PEERPID = (0, 0x002)  # SOL_LOCAL and LOCAL_PEERPID of macOS, <sys/un.h>


def kind_of(path: str | None) -> Kind:
    """Return the kind of the ssh-agent behind a socket. This takes up to 2 s if no process answers."""
    if not path:
        return "not-ours"
    try:
        found = os.stat(path)  # noqa: PTH116  # Path would reject some odd paths
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            return "not-ours"
        if is_forwarded(path):
            return "forwarded"
    except (OSError, ValueError):
        return "silent"
    return "usable" if identities(path) is not None else "silent"


def is_forwarded(path: str) -> bool:
    """Report whether an ssh server listens on a socket: the ssh-agent behind it is then on another machine.

    The kernel reports the process that called listen(2). An ssh-agent forks after that call, so the reported process is
    gone. sshd does not fork, so the reported process is sshd. Any user can read its name. Raise OSError if no process
    listens.
    """
    if _FORWARDED_NAME.search(str(Path(path).resolve())):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONNECT_S)
        sock.connect(path)
        pid = _listener(sock)
    listener = read(pid) if pid > 0 else None
    return listener is not None and listener.comm in _SERVERS


def _listener(sock: socket.socket) -> int:
    if sys.platform == "darwin":
        return int(sock.getsockopt(*_LOCAL_PEERPID))
    pid, _uid, _gid = struct.unpack(
        "iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    )
    return int(pid)
