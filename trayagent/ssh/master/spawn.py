"""Start the process of a new master. It can wait for a preparation before it becomes ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from trayagent.ssh.master import master_logs as master_log

_PROGRAM_MAX = 60  # the tag of a log line has 128 bytes; its other parts take up to 55 (log.c, sshlogv)
# If the pipe ends without a line, the agent is gone, so the shell does not start ssh.
_WAIT = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")


def spawn(
    words: Sequence[str], log: Path, environment: Mapping[str, str], *, waits: bool
) -> subprocess.Popen[bytes]:
    """Start a command with its stderr in a file beside `log` (see `master_logs`).

    With `waits`, the command begins only when `prepared` allows that. Raise FileNotFoundError if the program is
    missing, and LogUnwritableError.
    """
    words, environment = _by_name(words, environment)
    if waits and shutil.which(words[0], path=environment.get("PATH", os.defpath)) is None:
        raise FileNotFoundError(words[0])
    fd = master_log.create(log)
    try:
        # Start ssh in a new Unix session, so that Ctrl-C in a terminal and the agent's end do not reach ssh.
        return subprocess.Popen(
            [*_WAIT, *words] if waits else words,
            stdin=subprocess.PIPE if waits else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=fd,
            env=dict(environment),
            start_new_session=True,
            cwd="/",
            bufsize=0,
        )
    finally:
        os.close(fd)


def _by_name(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return a command and an environment in which a program with a long path is called by its name, through PATH.

    OpenSSH 10.0 and later log the path, and a long path would cut the pid off the log line.
    """
    folder, name = os.path.split(words[0])
    if len(words[0]) <= _PROGRAM_MAX:
        return words, environment
    path = f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return [name, *words[1:]], {**environment, "PATH": path}


async def prepared(
    process: subprocess.Popen[bytes], prepare: Callable[[int], Awaitable[object]] | None
) -> None:
    """Run `prepare(pid)`, then let a waiting process start its command."""
    if prepare is not None:
        await prepare(process.pid)
    if process.stdin is None:
        return
    try:
        process.stdin.write(b"\n")
    except BrokenPipeError:
        pass  # the process has ended meanwhile
    finally:
        process.stdin.close()
