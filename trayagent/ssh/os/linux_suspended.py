"""Read from /proc and the control groups whether a process is suspended.

Source: proc(5).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

# For each kind of line in /proc/PID/cgroup: the mount point, the file, and the file's text while frozen.
_FREEZERS = {
    "": tuple((root, "cgroup.events", "frozen 1") for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")),
    "freezer": (("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),),
}


def any_stopped(pids: Iterable[int]) -> bool:
    """Report whether one of the processes is suspended, by job control (T), a debugger (t) or a frozen cgroup."""
    return any(_state(pid) in {"T", "t"} or _frozen(pid) for pid in pids)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - see `linux_process`
            return file.read().rpartition(b")")[2][1:2].decode(errors="replace")
    except OSError:
        return ""


def _frozen(pid: int) -> bool:
    """Report whether the control group of a process, or a group above it, is frozen.

    `systemctl freeze` and container managers freeze groups, and so does systemd before the machine sleeps. In /proc a
    frozen process looks like an idle process. Source: the kernel's cgroup-v2.rst (cgroup.events) and
    cgroup-v1/freezer-subsystem.rst.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup") as file:  # noqa: PTH123 - see `linux_process`
        for line in file:
            _, controllers, group = line.rstrip("\n").split(":", 2)
            if any(
                word in _text(f"{root}{group}/{name}") for root, name, word in _FREEZERS.get(controllers, ())
            ):
                return True
    return False


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123 - see `linux_process`
            return file.read()
    except OSError:
        return ""
