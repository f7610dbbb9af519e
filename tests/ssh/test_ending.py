"""Ending a master never ends a process that does not belong to it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from trayagent.core.facts.hosts import Master
from trayagent.ssh.master.ending import end
from trayagent.ssh.os.process import alive, descendants, read

DEADLINE_S = 20.0


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of the user that has a child."""
    child = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
    until = time.monotonic() + DEADLINE_S
    while not any(p.comm == "sleep" for p in descendants(child.pid)):
        assert time.monotonic() < until, "it has no child"
        time.sleep(0.005)
    yield child
    for process in (*descendants(child.pid), read(child.pid)):
        if process is not None:
            subprocess.run(["kill", "-KILL", str(process.pid)], check=False)
    child.wait(DEADLINE_S)


@pytest.mark.parametrize("case", ["another program", "a recycled pid"])
def test_the_family_of_another_process_is_left_alone(bystander: subprocess.Popen[bytes], case: str) -> None:
    """If the pid now belongs to another program or process, that process and its children survive."""
    found = read(bystander.pid)
    assert found is not None
    family = descendants(bystander.pid)
    master = Master(bystander.pid, found.start_ticks, "/nonexistent/control-path")
    if case == "a recycled pid":
        master = replace(master, start_ticks=found.start_ticks - 1)
    asyncio.run(asyncio.wait_for(end(master, ask=False), DEADLINE_S))
    for process in (found, *family):
        assert alive(process.pid, process.start_ticks), f"{process.comm} was ended"
    assert bystander.poll() is None
