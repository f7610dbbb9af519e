"""Run an ssh beside a master, for a bare control or a key trial, and end it as soon as its log shows enough."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from trayagent.ssh.login.key_exchange_log import LOG_OPTIONS
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon
from trayagent.ssh.os.process import read

_POLL_S = 0.004  # no event reports that a file grew; the interval is a fraction of a round trip

_ALONE = {
    "ControlPath": "none",
    "ControlMaster": "no",
    "ControlPersist": "no",
    "ForkAfterAuthentication": "no",
    "ClearAllForwardings": "yes",
    "BatchMode": "yes",
    "IdentityAgent": "none",
    "PermitLocalCommand": "no",
    "Tunnel": "no",
    "UpdateHostKeys": "no",  # the agent treats a change of known_hosts like a change of keys
    **LOG_OPTIONS,
}
"""With these options, ssh shares nothing with a master, stays in the foreground and never prompts."""


class Result(Struct, frozen=True):
    """The pid and the log of an ssh that has ended. `status` is None if the agent ended it."""

    pid: int
    output: master_log.SshOutput
    status: int | None


def temporary_command(
    name: str,
    options: Mapping[str, str],
    *,
    log: Path,
    ssh: str,
    config: str | None,
    files: Sequence[str] = (),
) -> list[str]:
    """Return the command line of an ssh that opens no session and logs to the file `log`.

    `options` are added to those that keep this ssh apart from any master. `files` are values of IdentityFile.
    """
    words = [ssh, *(["-F", config] if config is not None else []), "-N", "-T", "-E", str(log)]
    for key, value in {**_ALONE, **options}.items():
        words += ["-o", f"{key}={value}"]
    for file in files:
        words += ["-o", f"IdentityFile={file}"]
    return [*words, "--", name]


async def run_until(
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    deadline_s: float,
    enough: Callable[[int, str], bool],
) -> Result:
    """Run an ssh until `enough(pid, log)` is true, ssh ends, or the deadline passes. Then end ssh, and remove its log.

    Raise OSError if ssh cannot run.
    """
    null = asyncio.subprocess.DEVNULL
    stderr = master_log.create(log)
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=null,
            stdout=null,
            stderr=stderr,
            env=dict(environment),
            start_new_session=True,
            cwd="/",
        )
    except BaseException:
        master_log.remove(log)
        raise
    finally:
        os.close(stderr)
    ended = False
    output = master_log.SshOutput("")
    try:
        with contextlib.suppress(TimeoutError):  # at the deadline, use the log so far
            async with asyncio.timeout(deadline_s):
                ended = await _until_enough(child, log, enough)
    finally:
        await asyncio.shield(_end(child))
        output = master_log.read(log)
        master_log.remove(log)
    return Result(child.pid, output, child.returncode if ended else None)


async def _until_enough(
    child: asyncio.subprocess.Process, log: Path, enough: Callable[[int, str], bool]
) -> bool:
    """Wait until the log shows enough, or ssh ends; return whether ssh ended."""
    while child.returncode is None:
        if enough(child.pid, master_log.read(log).own):
            return False
        master_log.shorten(log)
        await asyncio.sleep(_POLL_S)
    return True


async def _end(child: asyncio.subprocess.Process) -> None:
    running = read(child.pid) if child.returncode is None else None
    if running is not None:
        await abandon(running)
    await child.wait()
