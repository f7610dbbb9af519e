"""Decides whether a dead session of the agent on a server may be ended; pure.

The agent ends such a session only with the rights of the session's user, and only after the session's master on this
machine has certainly ended. From then on, the connection can carry nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from trayagent.core.facts.remote_sessions import Connection, KeptSession, Machine


def may_end(
    kept: KeptSession, here: Machine, *, runs: bool, established: Collection[Connection], refused: bool
) -> bool:
    """Report whether a session is provably unused, so that it may be ended.

    `runs`: the session's own master lives. `established`: the TCP connections of this machine. They count because a
    fork (ControlPersist) may have passed the session's connection to another process. `refused`: the server refuses
    something that the session may hold, such as a port. Otherwise a session of an earlier boot is kept, because a copy
    of this machine may be using it.
    """
    if runs or kept.machine.name != here.name or not kept.machine.boot:
        return False
    if kept.machine.boot != here.boot:
        return refused and bool(here.name) and bool(here.boot)
    if kept.connection is None:
        return kept.ours  # the user's own master may have forked, so its connection is unknown
    return kept.connection not in established
