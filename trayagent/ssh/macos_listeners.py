"""Which TCP ports processes of this user listen on, as lsof(8) tells; those of other users are not told."""

from __future__ import annotations

import os

from trayagent.ssh import macos_lsof
from trayagent.ssh.seen import Listeners


def tcp_listeners(pid: int) -> Listeners:
    """Return who listens, seen from one process of this user."""
    found = [(f.pid, f.listens) for f in macos_lsof.of_user(os.getuid(), "-iTCP", "-sTCP:LISTEN")]
    own = frozenset(end for holder, end in found if end is not None and holder == pid)
    return Listeners(own, frozenset(end for holder, end in found if end is not None and holder != pid))
