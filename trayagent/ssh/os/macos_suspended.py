"""Read from ps(1) whether a process is suspended."""

from __future__ import annotations

from collections.abc import Iterable

from trayagent.ssh.os import macos_ps


def any_stopped(pids: Iterable[int]) -> bool:
    """Report whether one of the processes is suspended."""
    return any(state.startswith("T") for state in macos_ps.states(pids))
