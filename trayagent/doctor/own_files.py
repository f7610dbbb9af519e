"""Checks the agent's own files: safe directories, a readable history, and their size."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from trayagent.config.errors import UnsafeFolder
from trayagent.config.file_paths import FilePaths
from trayagent.config.runtime_directory import make_private
from trayagent.core.facts.forward_spec import MAX_UNIX_PATH
from trayagent.doctor.deadlines import aside
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, shown
from trayagent.history.record_events import History, HistoryUnreadable

LARGE = 128 * 1024 * 1024
"""Bytes. The history keeps at most 200,000 events, which take half of this.

A master's log can also grow this large if the master prints errors without end.
"""
LITTLE = 16 * 1024 * 1024
"""Bytes that should be free. SQLite and the log write little, but both fail on a full disk."""
_FAR_FUTURE = 4e9
_IN_DELETE_SELF = 0x400  # linux/inotify.h
_MORE = {"max_user_instances": 1024, "max_user_watches": 524288}
_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


async def check(case: Case) -> Iterable[Finding]:
    """Report why the agent cannot write its files, and which files have grown too large."""
    return await aside(lambda: _examine(case.file_paths))


def _examine(file_paths: FilePaths) -> list[Finding]:
    found = [*_folders(file_paths), *_history(file_paths), *_full(file_paths), *_inotify()]
    history, log = (
        _size(file_paths.history_db.parent, "history."),
        _size(file_paths.log_file.parent, "agent.log"),
    )
    masters = _size(file_paths.runtime_dir, "master-")
    if history > LARGE:
        title = f"The history uses {_words(history)}: {shown(file_paths.history_db)}"
        why = "`history` in [agent] sets how long events are kept; without it, 90 days."
        remedy = "Keep the events for fewer days, in [agent] of the configuration:"
        found.append(advice("history-large", title, why, remedy, 'history = "30d"'))
    if masters > LARGE:
        title = f"The logs of the masters use {_words(masters)}: {shown(file_paths.runtime_dir)}/master-*.log"
        why = "These files are in memory. The agent empties them, but only while it runs."
        remedy = "Read what they print, and reconnect the host that prints most: trayagent reconnect HOST"
        found.append(
            advice(
                "log-large", title, why, remedy, f"tail -n 3 {_quoted(file_paths.runtime_dir)}/master-*.log"
            )
        )
    return found or [ok(f"history {_words(history)}, log {_words(log)}: {shown(file_paths.state_dir)}")]


def _folders(file_paths: FilePaths) -> Iterator[Finding]:
    socket = os.fsencode(file_paths.ipc_socket)
    if len(socket) > MAX_UNIX_PATH:
        title = f"The path of the agent's socket has {len(socket)} bytes, but at most {MAX_UNIX_PATH} are possible"
        why = f"It would be {file_paths.ipc_socket}, and the agent cannot listen there."
        yield problem(
            "socket-too-long", title, why, "Set TRAYAGENT_RUNTIME_DIR to a shorter directory of your own."
        )
    for folder in (file_paths.runtime_dir, file_paths.state_dir):
        if not os.path.lexists(folder):
            continue  # the agent's first start creates the directory
        try:
            make_private(str(folder))
        except UnsafeFolder as error:
            if folder == file_paths.state_dir and "open to other" in error.title:
                continue  # the agent's next start fixes the mode
            yield problem("folder-unsafe", error.title, "The agent does not start.", error.hint)
            continue
        if not os.access(folder, os.W_OK | os.X_OK):
            title = f"The directory {folder} cannot be written"
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                title = f"The file system of {folder} is read-only"
                why = "After a restart, the agent does not know its masters, refused logins and history."
                remedy = "Make it writable, or set TRAYAGENT_STATE_DIR to another directory of your own."
                yield problem("folder-read-only", title, why, remedy)
                continue
            yield problem(
                "folder-unsafe", title, "The agent does not start.", "", f"chmod u+rwx {_quoted(folder)}"
            )


def _history(file_paths: FilePaths) -> Iterator[Finding]:
    try:
        History(file_paths.history_db).events(since=_FAR_FUTURE)
    except HistoryUnreadable as error:
        why = "Events are neither shown nor kept."
        line = f"mv {_quoted(file_paths.history_db)} {_quoted(file_paths.history_db)}.old"
        yield advice("history-unreadable", error.title, why, error.hint, line)


def _full(file_paths: FilePaths) -> Iterator[Finding]:
    for folder in (file_paths.state_dir, file_paths.runtime_dir):
        there = next(f for f in (folder, *folder.parents) if f.is_dir())
        try:
            free = shutil.disk_usage(there).free
        except OSError:
            continue
        if free < LITTLE:
            title = f"Only {_words(free)} are free on the file system of {folder}"
            why = "When it is full, history and logs are lost, and the agent cannot record its masters."
            yield problem(
                "disk-full", title, why, "Free some space. To see what uses it:", f"df -h {_quoted(there)}"
            )


def _inotify() -> Iterator[Finding]:
    """Report that the kernel has no inotify instance or no watch left for this user (inotify(7))."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    limit = "max_user_instances"
    if fd >= 0:
        watch = libc.inotify_add_watch(fd, b"/", _IN_DELETE_SELF)
        os.close(fd)
        if watch >= 0:
            return
        limit = "max_user_watches"
    title = f"The limit of the kernel for watched files is reached (fs.inotify.{limit})"
    why = "A changed configuration, ssh_config or key and a new master are noticed late or not at all."
    remedy = "End the program that watches so many files, or raise the limit. Then restart the agent:"
    yield advice("inotify-limit", title, why, remedy, f"sudo sysctl fs.inotify.{limit}={_MORE[limit]}")


def _size(folder: Path, prefix: str) -> int:
    """Return the total size in bytes of the files in a directory whose names begin with `prefix`."""
    try:
        return sum(f.stat().st_size for f in folder.iterdir() if f.name.startswith(prefix) and f.is_file())
    except OSError:
        return 0


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _words(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.0f} {name}"
    return f"{size} bytes"
