"""Find the TCP ports on which this user's processes listen, with lsof(8), which shows no ports of other users."""

from __future__ import annotations

import os
from collections.abc import Collection

from trayagent.ssh.os import macos_lsof
from trayagent.ssh.os.types import Listener, Listeners


def tcp_listeners(pid: int) -> Listeners:
    """Return the TCP listeners of one process, and of this user's other processes."""
    found = [(f.pid, f.listens) for f in macos_lsof.of_user(os.getuid(), "-iTCP", "-sTCP:LISTEN")]
    own = frozenset(end for holder, end in found if end is not None and holder == pid)
    return Listeners(own, frozenset(end for holder, end in found if end is not None and holder != pid))


def all_listeners(ports: Collection[int]) -> list[Listener]:
    """Return this user's listeners on these ports."""
    uid = os.getuid()
    found = ((f.pid, f.listens) for f in macos_lsof.of_user(uid, "-iTCP", "-sTCP:LISTEN"))
    return [Listener(*end, uid, pid) for pid, end in found if end is not None and end[1] in ports]
