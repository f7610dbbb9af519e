"""Read the process table from ps(1), for systems without /proc.

Start times are whole seconds from `ps -o lstart`. ps runs with TZ=UTC and LC_ALL=C, so that a new time zone or language
does not change the start time of a process. This module cuts a program's name at its first space, which does not matter
for ssh. An argument with spaces appears as several words.
"""

from __future__ import annotations

import calendar
import os
import subprocess
import time
from collections.abc import Iterable

from trayagent.ssh.os.types import Process

# One -o for each column: in "-o pid=,ppid=" a BSD ps may take the rest as the heading of the first column.
_COLUMNS = ("pid", "ppid", "uid", "stat", "lstart", "ucomm", "args")
_WORDS = ["ps", "-ww", *(word for column in _COLUMNS for word in ("-o", f"{column}="))]
_LSTART = "%a %b %d %H:%M:%S %Y"
_QUERY_WITHIN_S = 5.0


def of(pid: int) -> Process | None:
    """Return a running process, or None if the process is gone or a zombie."""
    return next(iter(parsed(_query("-p", str(pid)))), None)


def table() -> dict[int, Process]:
    """Return the running processes of all users by pid."""
    return {process.pid: process for process in parsed(_query("-ax"))}


def states(pids: Iterable[int]) -> list[str]:
    """Return the states of the processes that still run, as ps prints them: "T" means suspended."""
    return _run(["ps", "-o", "stat=", "-p", ",".join(map(str, pids))]).split()


def parsed(text: str) -> list[Process]:
    """Return the running processes in the output of ps; skip lines that cannot be parsed."""
    found = map(_process, text.splitlines())
    return [process for process in found if process is not None]


def below(pid: int, processes: Iterable[Process]) -> list[Process]:
    """Return all descendants of a process, the nearest first."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        if process.pid != process.ppid:  # the parent of launchd is pid 0, which is its own parent
            children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    queue = [pid]
    while queue:
        nearest = children.pop(queue.pop(0), [])
        found += nearest
        queue += [process.pid for process in nearest]
    return found


def _process(line: str) -> Process | None:
    fields = line.split(maxsplit=9)
    if len(fields) < 10 or fields[3].startswith("Z"):
        return None
    comm, _, words = fields[9].partition(" ")
    try:
        started = calendar.timegm(time.strptime(" ".join(fields[4:9]), _LSTART))
        return Process(int(fields[0]), started, comm, int(fields[2]), int(fields[1]), tuple(words.split()))
    except ValueError:
        return None


def _query(*which: str) -> str:
    """Return the output of ps, or "" if no process matches. Ignore its exit status, which shows only that."""
    return _run([*_WORDS, *which])


def _run(words: list[str]) -> str:
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(words, env=env, capture_output=True, check=False, timeout=_QUERY_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout)
