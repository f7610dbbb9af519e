"""Detect whether a master is suspended, because then it cannot read an answer."""

from __future__ import annotations

import sys

from trayagent.ssh.os.tcp_connection import Flow, flow_of, transport_of

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_suspended import any_stopped
else:
    from trayagent.ssh.os.linux_suspended import any_stopped

__all__ = ["any_stopped", "carried_by_stopped"]

_DEEPEST = 8  # the longest chain of masters that carry one another, as in `linux_tcp_connection`


def carried_by_stopped(pid: int, flow: Flow | None) -> bool:
    """Report whether a master, its transport, or the master that carries it is suspended.

    `flow` is the master's connection.
    """
    for _ in range(_DEEPEST):
        if any_stopped([pid, *(process.pid for process in transport_of(pid))]):
            return True
        if flow is None or flow.carrier_pid is None:
            return False
        pid = flow.carrier_pid
        flow = flow_of(pid)
    return False
