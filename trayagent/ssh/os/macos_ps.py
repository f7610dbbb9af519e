"""The table of processes where there is no /proc, as ps(1) prints it.

Start times are whole seconds: `ps -o lstart`, asked for in UTC and C, so that neither a journey nor a
language changes what a process's own time is. A name with spaces is cut at the first, the same in each
answer; ssh's has none, and a word of a command line with spaces comes as several.
"""

from __future__ import annotations

import calendar
import os
import subprocess
import time
from collections.abc import Iterable

from trayagent.ssh.os.types import Process

# One -o for each: in "-o pid=,ppid=" a BSD ps may take the rest for the first one's heading.
_COLUMNS = ("pid", "ppid", "uid", "stat", "lstart", "ucomm", "args")
_WORDS = ["ps", "-ww", *(word for column in _COLUMNS for word in ("-o", f"{column}="))]
_LSTART = "%a %b %d %H:%M:%S %Y"
_ASK_S = 5.0


def of(pid: int) -> Process | None:
    """Return a living process, None when it is gone or only waits to be reaped."""
    return next(iter(parsed(_ask("-p", str(pid)))), None)


def table() -> dict[int, Process]:
    """Return all processes by pid, those of others too."""
    return {process.pid: process for process in parsed(_ask("-ax"))}


def parsed(text: str) -> list[Process]:
    """Return the living processes of an answer; a line that cannot be read is left out."""
    found = map(_process, text.splitlines())
    return [process for process in found if process is not None]


def below(pid: int, processes: Iterable[Process]) -> list[Process]:
    """Return the children of a process and theirs, the nearest first."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        if process.pid != process.ppid:  # launchd's parent is pid 0, and that is its own
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


def _ask(*which: str) -> str:
    """Return what ps says, "" where it knows none; its status tells the same."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        asked = subprocess.run([*_WORDS, *which], env=env, capture_output=True, check=False, timeout=_ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(asked.stdout)
