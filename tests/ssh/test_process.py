"""Real processes: their facts, their end, and signals, which must never reach another process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trayagent.ssh.os import linux_process as p
from trayagent.ssh.os.types import Process

DEADLINE_S = 20.0
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Yield a function that starts a process. The process ends after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*words: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    yield run
    for one in started:
        one.kill()
        one.wait(DEADLINE_S)
        for stream in (one.stdin, one.stdout):
            if stream:
                stream.close()


def settled(pid: int, comm: str) -> Process:
    """Return the process once it runs the wanted program, because Popen may return earlier."""
    end = time.monotonic() + DEADLINE_S
    while True:
        found = p.read(pid)
        if found is not None and found.comm == comm and found.argv:
            return found
        assert time.monotonic() < end, found


def test_the_facts_of_a_process_are_read(start: Start) -> None:
    """`read` returns the name, owner, parent and words of a child, and `age_s` its age."""
    child = start("sleep", "600")
    found = settled(child.pid, "sleep")
    assert (found.uid, found.ppid, found.argv) == (os.getuid(), os.getpid(), ("sleep", "600"))
    assert -0.1 < p.age_s(found) < DEADLINE_S
    assert p.alive(child.pid, found.start_ticks)
    assert not p.alive(child.pid, found.start_ticks + 1)
    assert child.pid in set(p.pids_of(os.getuid()))
    assert child.pid not in set(p.pids_of(os.getuid() + 12345))


def test_a_name_with_brackets_and_spaces_is_read(start: Start, tmp_path: Path) -> None:
    """A name with brackets and spaces is read correctly, although the kernel does not escape it."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(sys.executable)
    child = start(str(program), "-c", "import time; print(flush=True); time.sleep(600)")
    assert child.stdout
    child.stdout.readline()
    found = p.read(child.pid)
    assert found is not None
    assert found.ppid == os.getpid()
    assert found.comm == "a) R 1 (b"


def test_a_zombie_counts_as_gone(start: Start) -> None:
    """A zombie counts as gone."""
    child = start("sleep", "600")
    found = settled(child.pid, "sleep")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # type: ignore[attr-defined, unused-ignore]  # Linux only
    assert p.read(child.pid) is None
    assert not p.alive(child.pid, found.start_ticks)
    assert p.socket_inodes(child.pid) == frozenset()


def test_descendants_are_found_nearest_first(start: Start) -> None:
    """`descendants` returns a shell's child and grandchild, the nearest first."""
    child = start("sh", "-c", "sh -c 'sleep 600 & echo; wait' & wait")
    assert child.stdout
    child.stdout.readline()
    found = p.descendants(child.pid)
    try:
        assert [f.ppid for f in found] == [child.pid, found[0].pid]
    finally:
        for one in found:
            p.kill_checked(one.pid, one.start_ticks, {one.comm}, signal.SIGKILL)


def test_a_signal_reaches_the_given_process(start: Start) -> None:
    """A signal reaches a process with the right start time and name; afterwards the result is "gone"."""
    child = start("sleep", "600")
    found = settled(child.pid, "sleep")
    assert p.kill_checked(child.pid, found.start_ticks, {"ssh", "sleep"}, signal.SIGKILL) == "sent"
    assert child.wait(DEADLINE_S) == -signal.SIGKILL
    assert p.kill_checked(child.pid, found.start_ticks, {"sleep"}, signal.SIGKILL) == "gone"


def test_a_signal_reaches_no_other_process(start: Start) -> None:
    """A process with another start time, name or owner gets no signal, and no error is raised."""
    child = start("sleep", "600")
    found = settled(child.pid, "sleep")
    assert p.kill_checked(child.pid, found.start_ticks + 1, {"sleep"}, signal.SIGKILL) == "other"
    assert p.kill_checked(child.pid, found.start_ticks, {"ssh"}, signal.SIGKILL) == "other"
    assert child.poll() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root could reach another user's process at all")
def test_a_signal_reaches_no_process_of_another_user() -> None:
    """Another user's process gets no signal, even from root."""
    child = subprocess.Popen(["sleep", "600"], user=65534)
    try:
        found = settled(child.pid, "sleep")
        assert found.uid == 65534
        assert p.kill_checked(child.pid, found.start_ticks, {"sleep"}, signal.SIGKILL) == "other"
        assert child.poll() is None
    finally:
        child.kill()
        child.wait(DEADLINE_S)


def test_an_exit_is_reported_at_once_and_once(start: Start) -> None:
    """The callback runs once, at the moment when the process ends."""

    async def body() -> None:
        child = start("sleep", "600")
        ended = asyncio.Event()
        count: list[int] = []

        def told() -> None:
            count.append(1)
            ended.set()

        watch = p.PidWatch(child.pid, told)
        await asyncio.sleep(0)
        assert not ended.is_set()
        child.kill()
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
        await asyncio.sleep(0)
        watch.close()
        assert count == [1]

    asyncio.run(body())


def test_an_exit_before_the_watch_is_reported(start: Start) -> None:
    """If the process ended before the watch began, the callback runs, too."""

    async def body() -> None:
        child = start("true")
        child.wait(DEADLINE_S)
        ended = asyncio.Event()
        p.PidWatch(child.pid, ended.set)
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
        silent: list[int] = []
        p.PidWatch(child.pid, lambda: silent.append(1)).close()
        await asyncio.sleep(0)
        assert silent == []

    asyncio.run(body())


def test_a_closed_watch_is_silent(start: Start) -> None:
    """A closed watch makes no callback, and closing it twice raises no error."""

    async def body() -> None:
        child = start("sleep", "600")
        told: list[int] = []
        watch = p.PidWatch(child.pid, lambda: told.append(1))
        watch.close()
        watch.close()
        child.kill()
        child.wait(DEADLINE_S)
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == []

    asyncio.run(body())
