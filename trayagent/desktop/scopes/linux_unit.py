"""Finds processes in the control group of the agent's unit: masters that started without a scope."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

UNIT = "trayagent.service"


def groups_of(pid: int) -> str:
    """Return the control groups of a process from /proc, or "" if it is gone. Source: cgroups(7)."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def beside_us(environment: Mapping[str, str] = os.environ) -> list[int]:
    """Return the other processes in this agent's control group, if the agent is the main process of a systemd service.

    Otherwise return none: in the group of a terminal, for example, there are processes that the agent must not move.
    Source: systemd.exec(5), SYSTEMD_EXEC_PID.
    """
    if environment.get("SYSTEMD_EXEC_PID") != str(os.getpid()):
        return []
    ours = groups_of(os.getpid())
    if not any(line.endswith(".service") for line in ours.splitlines()):
        return []
    return [pid for pid in _own_pids() if pid != os.getpid() and groups_of(pid) == ours]


def in_unit(main_pid: int | None, unit: str = UNIT) -> list[int]:
    """Return this user's processes in the control group of a unit, without the unit's main process."""
    return [pid for pid in _own_pids() if pid != main_pid and is_in_unit(pid, unit)]


def is_in_unit(pid: int, unit: str = UNIT) -> bool:
    """Report whether a process is in the control group of a unit."""
    return any(line.endswith(f"/{unit}") for line in groups_of(pid).splitlines())


def _own_pids() -> list[int]:
    found = []
    with os.scandir("/proc") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and Path(entry.path).stat().st_uid == os.getuid():
                    found.append(int(entry.name))
    return found
