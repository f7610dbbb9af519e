"""The deadline for a new master to listen. A shell script replaces ssh."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trayagent.ssh.master.launch_and_wait import LaunchFailedError, launch
from trayagent.ssh.master.master_logs import read
from trayagent.ssh.master.spawn import prepared, spawn


def listens(
    folder: Path,
    after_s: float,
    *,
    deadline_s: float,
    longer_s: float = 0.0,
    hopeless: Callable[[int], bool] = lambda _pid: False,
) -> None:
    """Start a program that listens after `after_s`, then end it.

    Raises LaunchFailedError if it does not listen in time.
    """

    async def run() -> None:
        script = f"echo begun >&2; sleep {after_s}; : >{folder / 'socket'}; exec sleep 60"
        launched = await launch(
            ["sh", "-c", script], str(folder / "socket"), folder / "log",
            deadline_s=deadline_s, environment=os.environ, longer_s=lambda _pid: longer_s, hopeless=hopeless,
        )  # fmt: skip
        launched.process.kill()
        launched.process.wait()

    asyncio.run(run())


def test_a_slow_line_gets_more_time_once(tmp_path: Path) -> None:
    """On a slow line the deadline is extended once."""
    with pytest.raises(LaunchFailedError) as failed:
        listens(tmp_path, 60, deadline_s=1.0)
    assert failed.value.status is None
    assert "begun" in failed.value.output.others
    with pytest.raises(LaunchFailedError):
        listens(tmp_path, 60, deadline_s=0.3, longer_s=0.3)
    listens(tmp_path, 1.0, deadline_s=0.3, longer_s=20.0)


def test_a_hopeless_attempt_ends_before_its_deadline(tmp_path: Path) -> None:
    """A hopeless attempt, such as one that needs a browser, ends before its deadline."""
    with pytest.raises(LaunchFailedError) as failed:
        listens(tmp_path, 60, deadline_s=60, hopeless=lambda _pid: (tmp_path / "log").exists())
    assert failed.value.status is None


def test_many_logins_wait_without_polling(tmp_path: Path) -> None:
    """While 20 logins wait, the agent checks each ten times a second, and sees each new socket at once."""

    async def run() -> tuple[float, list[float]]:
        begin, late = time.process_time(), []

        async def one(number: int) -> None:
            made = tmp_path / f"socket{number}"
            launched = await launch(
                ["sh", "-c", f"sleep 1; : >{made}; exec sleep 60"], str(made), tmp_path / f"log{number}",
                deadline_s=60, environment=os.environ,
            )  # fmt: skip
            late.append(time.time() - made.stat().st_mtime)
            launched.process.kill()
            launched.process.wait()

        await asyncio.gather(*map(one, range(20)))
        return time.process_time() - begin, late

    cpu_s, late = asyncio.run(run())
    assert min(late) < 0.05
    assert cpu_s < 1.0


def test_an_end_of_the_program_is_noticed(tmp_path: Path) -> None:
    """If the program ends instead, its exit status is reported."""

    async def run() -> None:
        words = ["sh", "-c", "sleep 0.3; exit 7"]
        await launch(words, str(tmp_path / "s"), tmp_path / "log", deadline_s=60, environment=os.environ)

    with pytest.raises(LaunchFailedError) as failed:
        asyncio.run(run())
    assert failed.value.status == 7


def test_a_program_with_a_long_path_is_called_by_its_name(tmp_path: Path) -> None:
    """A program with a long path is called by its name, because newer ssh would log the path and cut off the pid."""
    program = tmp_path / ("long" * 20) / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$(command -v ssh)" >&2\n')
    program.chmod(0o755)
    for waits in (False, True):
        log = tmp_path / f"{waits}.log"
        process = spawn([str(program)], log, os.environ, waits=waits)
        asyncio.run(prepared(process, None))
        assert process.wait(10) == 0
        assert read(log).others.strip() == str(program)
