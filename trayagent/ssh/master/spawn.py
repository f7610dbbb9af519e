"""Starts the process of a new master; one that is to be prepared first waits before it becomes ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from trayagent.ssh.master import log as master_log

_PROGRAM_MAX = 60  # log.c, sshlogv: a tag has 128 bytes, of which the longest function's other parts take 55
# The end of the pipe without a word means that the agent is gone: then nobody waits for this ssh.
_WAIT = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")


def spawn(
    words: Sequence[str], log: Path, environment: Mapping[str, str], *, waits: bool
) -> subprocess.Popen[bytes]:
    """Start a command with its stderr in a file beside `log` (`master_log`).

    With `waits` it begins when it is `prepared`. Raises FileNotFoundError where there is no such program.
    """
    words, environment = _by_name(words, environment)
    if waits and shutil.which(words[0], path=environment.get("PATH", os.defpath)) is None:
        raise FileNotFoundError(words[0])
    fd = master_log.create(log)
    try:
        # A session of its own: a terminal's Ctrl-C and the agent's end must not reach it.
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
    """Return the words with a program of a long path called by its name, and the PATH that leads to it.

    OpenSSH 10.0 and later log the path, and cut the pid behind a long one off.
    """
    folder, name = os.path.split(words[0])
    if len(words[0]) <= _PROGRAM_MAX:
        return words, environment
    path = f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return [name, *words[1:]], {**environment, "PATH": path}


async def prepared(
    process: subprocess.Popen[bytes], prepare: Callable[[int], Awaitable[object]] | None
) -> None:
    """Run `prepare(pid)`, then let a process that waits become what it was started for."""
    if prepare is not None:
        await prepare(process.pid)
    if process.stdin is None:
        return
    try:
        process.stdin.write(b"\n")
    except BrokenPipeError:
        pass  # it was ended meanwhile
    finally:
        process.stdin.close()
