"""Detects that a login failed because a file system on this machine is full."""

from __future__ import annotations

from pathlib import Path

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.problems import Problem
from trayagent.core.problem_texts import NO_ROOM, unwritable
from trayagent.ssh.master.master_logs import LogUnwritableError, check_writable


def no_room(log: Path) -> Failure | None:
    """Return the failure if ssh could not write to this log now, else None. Leave the log as it is."""
    try:
        check_writable(log.with_suffix(".room"))
    except LogUnwritableError as error:
        return unwritable(str(log.parent), error)
    return None


def failed_locally(error: OSError, folder: Path, host: str) -> Failure:
    """Return the failure of a login that this machine prevented. `folder` is where the agent made files for it."""
    if isinstance(error, LogUnwritableError) or error.errno in NO_ROOM:
        return unwritable(str(folder), error)
    title = f"ssh could not be started for {host}: {error.strerror or error}"
    return Failure(Problem("unknown", title, "The agent tries again"), "unknown")
