"""Read processes from /proc, signal them safely, and watch for their end.

Source: proc(5), pidfd_open(2). A pid alone does not identify a process, because the kernel reuses pids. Within one
boot, a pid together with its start time identifies a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import stat
import time
from collections.abc import Callable, Collection, Iterator

from trayagent.ssh.os.types import KillResult, Process

_PROC = "/proc"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read(pid: int) -> Process | None:
    """Return a running process, or None if the process is gone or a zombie."""
    found = _stat(pid)
    if found is None:
        return None
    comm, ppid, start_ticks, uid = found
    return Process(pid, start_ticks, comm, uid, ppid, _argv(pid))


def age_s(process: Process) -> float:
    """Return the age of a process in seconds, including the time for which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start_ticks / _TICKS_PER_S  # type: ignore[attr-defined, unused-ignore]  # Linux only


def alive(pid: int, start_ticks: int) -> bool:
    """Report whether the process with this pid and start time still runs; False for a zombie."""
    found = _stat(pid)
    return found is not None and found[2] == start_ticks


def pids_of(uid: int | None = None) -> Iterator[int]:
    """Yield the pid of each process of a user; None: of all users."""
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if uid is None or entry.stat().st_uid == uid:
                    yield int(entry.name)


def ssh_pids(uid: int, names: Collection[str] = ("ssh",)) -> Iterator[int]:
    """Yield the pid of each ssh client of a user, masters and others; `names` are the accepted comm values."""
    return (pid for pid in pids_of(uid) if comm_of(pid) in names)


def ssh_processes(uid: int, names: Collection[str] = ("ssh",), *, but: Collection[int] = ()) -> list[Process]:
    """Return the ssh clients of a user, masters and others; `names` are the accepted comm values.

    Leave out the processes `but`, without reading them.
    """
    found = [read(pid) for pid in pids_of(uid) if pid not in but and comm_of(pid) in names]
    return [process for process in found if process is not None]


def descendants(pid: int) -> list[Process]:
    """Return all descendants of a process, the nearest first."""
    found: list[Process] = []
    queue = [pid]
    seen = {pid}
    while queue:
        for child in children_of(queue.pop(0)):
            process = None if child in seen else read(child)
            seen.add(child)
            if process is not None:
                found.append(process)
                queue.append(child)
    return found


def descriptors(pid: int) -> dict[int, str]:
    """Return the target of each descriptor of a process ("socket:[7]"), lowest first; {} if the process is gone."""
    folder = f"{_PROC}/{pid}/fd"
    found: dict[int, str] = {}
    try:
        for fd in sorted(map(int, os.listdir(folder))):  # noqa: PTH208 - pathlib is too slow for a hundred masters
            with contextlib.suppress(OSError):
                found[fd] = os.readlink(f"{folder}/{fd}")  # noqa: PTH115 - see `descriptors`
    except OSError:
        return {}
    return found


def is_readable(pid: int) -> bool:
    """Report whether this user may read the descriptors of a process; True if the process is gone.

    The kernel forbids it for a process of another user (sudo), and for one with file capabilities. With hidepid, such a
    process is not even listed (proc(5)).
    """
    try:
        os.listdir(f"{_PROC}/{pid}/fd")  # noqa: PTH208 - see `descriptors`
        os.readlink(f"{_PROC}/{pid}/exe")  # noqa: PTH115  # root without CAP_SYS_PTRACE may list, but not read
    except PermissionError:
        return False
    except OSError:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.kill(pid, 0)
            except PermissionError:
                return False
    return True


def program_of(pid: int) -> str:
    """Return the file name of the program that a process runs, "" if it cannot be read.

    Unlike comm, this is the interpreter of a script, and the program behind a symbolic link.
    """
    try:
        path = os.readlink(f"{_PROC}/{pid}/exe")  # noqa: PTH115 - see `descriptors`
    except OSError:
        return ""
    return os.path.basename(path.removesuffix(" (deleted)"))  # noqa: PTH119 - see `descriptors`


def is_openssh(pid: int) -> bool:
    """Report whether a process runs a program of OpenSSH, whatever its name; False if it cannot be read.

    A script or another program may have the name ssh. Each program of OpenSSH contains its version.
    """
    path = f"{_PROC}/{pid}/exe"
    try:
        status = os.stat(path)  # noqa: PTH116 - see `descriptors`
        key = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if key not in _openssh:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:  # noqa: PTH123
                _openssh[key] = text.find(b"OpenSSH_") >= 0
    except (OSError, ValueError):
        return False
    return _openssh[key]


_openssh: dict[tuple[int, int, int], bool] = {}  # by the file of the program


def descriptor(pid: int, fd: int) -> str:
    """Return the target of one descriptor of a process, "" if the descriptor is closed."""
    try:
        return os.readlink(f"{_PROC}/{pid}/fd/{fd}")  # noqa: PTH115 - see `descriptors`
    except OSError:
        return ""


def inode_of(target: str, kind: str = "socket") -> int:
    """Return the inode of a target such as "socket:[7]" or "pipe:[7]", or 0 for anything else."""
    return int(target[len(kind) + 2 : -1]) if target.startswith(kind + ":[") else 0


def socket_inodes(pid: int) -> frozenset[int]:
    """Return the inodes of all sockets that a process holds."""
    return frozenset(map(inode_of, descriptors(pid).values())) - {0}


def own_inodes() -> frozenset[int]:
    """Return the inodes of all sockets and pipes of this process.

    fstat(2) takes a quarter of the time of reading the links in /proc, and the agent has hundreds of descriptors.
    """
    found = set[int]()
    for fd in os.listdir(f"{_PROC}/self/fd"):  # noqa: PTH208 - see `descriptors`
        with contextlib.suppress(OSError):
            status = os.fstat(int(fd))
            if stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode):
                found.add(status.st_ino)
    return frozenset(found)


def kill_checked(
    pid: int, start_ticks: int, comm_names: Collection[str] | None, sig: signal.Signals
) -> KillResult:
    """Send a signal if the pid still belongs to the given process and to this user.

    `comm_names` are the names that its program may have, None for any name. They matter because a process keeps its pid
    and start time when it becomes another program.

    Return "sent", "gone" if the process has ended, or "other" if the pid now belongs to another process or user. Raise
    OSError only if pidfds do not work (Linux before 5.3).
    """
    try:
        pidfd = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]  # Linux only
    except ProcessLookupError:
        return "gone"
    try:
        # From now on the descriptor refers to the same process, even if the kernel reuses the pid.
        found = _stat(pid)
        if found is None:
            return "gone"
        comm, _, started, uid = found
        if (started, uid) != (start_ticks, os.getuid()):
            return "other"
        if comm_names is not None and comm not in comm_names:
            return "other"
        signal.pidfd_send_signal(pidfd, sig)  # type: ignore[attr-defined, unused-ignore]  # Linux only
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "other"
    finally:
        os.close(pidfd)
    return "sent"


class PidWatch:
    """Calls back once, in the running loop, when a process ends. If it has already ended, calls back soon.

    The process need not be a child. Until its end, the watch causes no wake-up. Raise OSError if pidfds do not work.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._pidfd: int | None = None
        self._soon: asyncio.Handle | None = None
        try:
            self._pidfd = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        except ProcessLookupError:
            self._soon = self._loop.call_soon(on_exit)
            return
        self._loop.add_reader(self._pidfd, self._ended)

    def close(self) -> None:
        """Stop watching; no callback comes after this."""
        if self._soon is not None:
            self._soon.cancel()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _ended(self) -> None:
        self.close()
        self._on_exit()


def _stat(pid: int) -> tuple[str, int, int, int] | None:
    """Return comm, parent pid, start time in ticks and uid of a running process, or None."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123 - see `descriptors`
            uid = os.fstat(file.fileno()).st_uid
            head, _, tail = file.read().decode(errors="replace").rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return head.partition("(")[2], int(fields[1]), int(fields[19]), uid


def comm_of(pid: int) -> str:
    """Return the first 15 bytes of the name of a process's program, or "" if the process is gone.

    It reads without a file object, because each scan for ssh reads this file of every process of the user.
    """
    try:
        fd = os.open(f"{_PROC}/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 64).decode(errors="replace").rstrip("\n")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _argv(pid: int) -> tuple[str, ...]:
    try:
        with open(f"{_PROC}/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - see `descriptors`
            words = file.read().rstrip(b"\0")
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in words.split(b"\0")) if words else ()


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"{_PROC}/{pid}/task"):  # noqa: PTH208 - see `descriptors`
            with (
                contextlib.suppress(OSError),
                open(f"{_PROC}/{pid}/task/{task}/children") as file,  # noqa: PTH123 - see `descriptors`
            ):
                found += map(int, file.read().split())
    return found
