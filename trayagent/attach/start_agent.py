"""Start an agent in the background for a command that needs one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

from trayagent.config import file_paths
from trayagent.config import runtime_directory as folders
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client
from trayagent.ipc.errors import NoAgent
from trayagent.own_module import own_module

WITHIN_S = 15.0
"""Enough for a cold start with two hundred hosts on a slow disk. A warm start takes half a second."""
_POLL_S = 0.02  # no event reports that a socket appeared
_PATHS = ("TRAYAGENT_CONFIG", "TRAYAGENT_RUNTIME_DIR", "TRAYAGENT_STATE_DIR", "TRAYAGENT_SSH_CONFIG")


def ensure_agent(env: Mapping[str, str] = os.environ) -> str | None:
    """Start an agent unless one runs. Return the log file of the new agent, None if one was running.

    The agent outlives this process and its terminal. It has a tray icon if there is a desktop. Return when the
    agent knows its hosts. Raises TrayagentError with the first line that a failed agent logged.
    """
    if _answers(env):
        return None
    found = file_paths.find(env=env)
    file_paths.prepare(found)
    fd = os.open(found.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        begin = os.fstat(fd).st_size
        child = _spawn(env, fd)
    finally:
        os.close(fd)
    deadline = time.monotonic() + WITHIN_S
    while not _answers(env):
        ended = (
            child.poll() is not None
        )  # if another agent started first, ours ended, and the other one answers soon
        if time.monotonic() > deadline or (ended and not _is_locked(found)):
            output = found.log_file.read_bytes()[begin:].decode(errors="replace").strip()
            raise TrayagentError(
                f"No agent could be started: {output.splitlines()[0] if output else 'it does not answer'}",
                code="no-agent",
                hint="See why: trayagent run",
            )
        time.sleep(_POLL_S)
    return str(found.log_file)


def _answers(env: Mapping[str, str]) -> bool:
    try:
        blocking_client.call(folders.ipc_socket(env), "status", {"hosts": []}, WITHIN_S)
    except NoAgent:
        return False
    return True


def _is_locked(found: file_paths.FilePaths) -> bool:
    """Report whether another agent holds the lock."""
    from trayagent.ipc.errors import AlreadyRunning
    from trayagent.ipc.one_agent_lock import Lock

    lock = Lock(found.lock_file)
    try:
        lock.acquire()
    except AlreadyRunning:
        return True
    lock.release()
    return False


def _spawn(env: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    # The agent runs in the root directory, so that it keeps no other file system busy. So make relative paths
    # absolute here.
    absolute = {name: os.path.abspath(env[name]) for name in _PATHS if env.get(name, "~")[0] not in "/~"}  # noqa: PTH100
    return subprocess.Popen(
        own_module("trayagent", "run"),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**env, **absolute},
        start_new_session=True,
        cwd="/",
    )
