"""Tests of the kernel's reports that a master reads its user's data, with real pipes."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.ssh.os.client_input import ClientInput, own_inodes
from trayagent.ssh.os.types import Flow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has inotify")

ANSWER_S = 10.0
FLOW = Flow("192.0.2.1", 40000, "192.0.2.2", 22, 0, 0, "direct")
OBEY = """
import os, sys
for line in sys.stdin:
    word, fd = line.split()
    os.close(int(fd)) if word == "close" else os.read(int(fd), 1)
    print("done", flush=True)
"""


class Master:
    """A process that holds the reading ends of some pipes, and reads or closes them on command."""

    def __init__(self, process: subprocess.Popen[str], pipes: dict[int, int]) -> None:
        self.process, self.pipes = process, pipes

    def read(self, fd: int) -> None:
        """Let it read a byte, which is written first."""
        os.write(self.pipes[fd], b"k")
        self._do("read", fd)

    def close(self, fd: int) -> None:
        """Let it close a pipe. Then no process holds that pipe."""
        os.close(self.pipes.pop(fd))
        self._do("close", fd)

    def _do(self, word: str, fd: int) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word} {fd}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextlib.contextmanager
def master(sessions: int) -> Iterator[tuple[Master, frozenset[int]]]:
    """Start a master with this number of sessions; yield it, and the inodes that are not its user's."""
    pipe = subprocess.PIPE
    pairs = dict(os.pipe() for _ in range(sessions))
    with subprocess.Popen(
        [sys.executable, "-c", OBEY], stdin=pipe, stdout=pipe, pass_fds=tuple(pairs), text=True
    ) as process:
        ours = {os.fstat(one.fileno()).st_ino for one in (process.stdin, process.stdout) if one}
        for fd in pairs:
            os.close(fd)
        yield Master(process, pairs), frozenset(ours)
        for fd in pairs.values():
            os.close(fd)
        process.kill()


def watches(watched: ClientInput) -> int:
    """Return how many descriptors the kernel watches."""
    return Path(f"/proc/self/fdinfo/{watched.fileno()}").read_text().count("inotify wd:")


def reports(watched: ClientInput) -> bool:
    """Wait for a report, and read it; return whether one came."""
    ready = bool(select.select([watched.fileno()], [], [], 0.2)[0])
    watched.read()
    return ready


@pytest.fixture
def used() -> list[int]:
    return []


@pytest.fixture
def watched(used: list[int]) -> Iterator[ClientInput]:
    with contextlib.closing(ClientInput(used.append)) as found:
        yield found


def test_a_read_is_reported_once_until_armed_again(watched: ClientInput, used: list[int]) -> None:
    with master(1) as (one, ours):
        pid, fd = one.process.pid, next(iter(one.pipes))
        watched.arm(pid, FLOW, ours)
        one.read(fd)
        assert reports(watched) and used == [pid]
        one.read(fd)
        assert not reports(watched) and used == [pid]
        watched.arm(pid, FLOW, ours)
        one.read(fd)
        assert reports(watched) and used == [pid, pid]


def test_a_session_that_ended_without_a_read_keeps_no_watch(watched: ClientInput) -> None:
    # An inotify watch keeps the inode of a closed pipe, so the kernel never removes the watch itself.
    with master(3) as (one, ours):
        pid = one.process.pid
        watched.arm(pid, FLOW, ours)
        assert watches(watched) == 3
        for fd in list(one.pipes)[:2]:
            one.close(fd)
        watched.arm(pid, FLOW, ours)
        assert watches(watched) == 1
        one.read(next(iter(one.pipes)))
        assert reports(watched)


def test_a_disarmed_master_keeps_no_watch(watched: ClientInput, used: list[int]) -> None:
    with master(2) as (one, ours):
        watched.arm(one.process.pid, FLOW, ours)
        watched.disarm(one.process.pid)
        assert watches(watched) == 0
        one.read(next(iter(one.pipes)))
        reports(watched)
        assert used == []


def test_the_agents_own_pipes_are_not_watched(watched: ClientInput) -> None:
    with master(1) as (one, _):
        watched.arm(one.process.pid, FLOW, own_inodes())
        assert watches(watched) == 0
