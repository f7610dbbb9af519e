"""Starts the process of a new master; one that is to be prepared first waits before it becomes ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

# The end of the pipe without a word means that the agent is gone: then nobody waits for this ssh.
_WAIT = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")


def spawn(
    words: Sequence[str], log: Path, environment: Mapping[str, str], *, waits: bool
) -> subprocess.Popen[bytes]:
    """Start a command with its stderr in the file `log` (0600); with `waits` it begins when it is `prepared`.

    Raises FileNotFoundError where there is no such program.
    """
    if waits and shutil.which(words[0], path=environment.get("PATH", os.defpath)) is None:
        raise FileNotFoundError(words[0])
    # Appending, since a master in the background and a ProxyCommand write there by descriptors of their own.
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
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
