"""A new master's socket gets its path without displacing a living listener, even one that appears in between."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from trayagent.agent.masters import take_over as taking_over
from trayagent.agent.masters.discovery import Discovery, Holder
from trayagent.agent.masters.take_over import MasterReplacer
from trayagent.agent.parts import Parts
from trayagent.config import file_paths
from trayagent.core.facts.actions import TakeOver
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master

LISTENER = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
    "print(flush=True); sys.stdin.read()"
)


NO_PARTS = Parts(file_paths.find(env={"TRAYAGENT_RUNTIME_DIR": "/nonexistent"}), *[cast("Any", None)] * 5)


class Room:
    """A folder in which programs listen."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cm"
        self.fresh = folder / "cm.1"
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []

    def listen(self, path: Path) -> int:
        """Start a program that listens on this path, instead of any existing file. Return its pid."""
        pipe = subprocess.PIPE
        aside = self._folder / f"aside-{len(self._programs)}"
        program = subprocess.Popen(["python3", "-c", LISTENER, str(aside)], stdin=pipe, stdout=pipe)
        self._programs.append(program)
        assert program.stdout
        assert program.stdout.readline() == b"\n"
        aside.rename(path)
        return program.pid

    def end(self) -> None:
        """End all programs."""
        for program in self._programs:
            program.kill()
            program.communicate()


@pytest.fixture
def room() -> Iterator[Room]:
    """Create a folder with a fresh socket in it."""
    with tempfile.TemporaryDirectory(prefix="ta-") as name:
        made = Room(Path(name))
        made.listen(made.fresh)
        yield made
        made.end()


class Interrupted(Discovery):
    """Checks as usual, but lets another program act directly after the first check."""

    def __init__(self, act: Callable[[], object]) -> None:
        nothing: Any = None
        super().__init__(NO_PARTS, nothing)
        self._act = [act]

    async def holder(self, path: str, likely: int | None = None) -> Holder | None:
        """Return the listener, then run the other program's action."""
        found = await super().holder(path, likely)
        if self._act:
            self._act.pop()()
        return found


def placed(room: Room, act: Callable[[], object], old: Master | None = None) -> Holder | None:
    """Put the fresh socket in place."""
    nothing: Any = None
    taking = MasterReplacer(NO_PARTS, Interrupted(act), *[nothing] * 6)
    return asyncio.run(taking._placed(str(room.fresh), str(room.path), old))


def dead(path: Path) -> None:
    """Leave the file of a socket on which no program listens."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def master(pid: int, path: Path) -> Master:
    """Return a judged master."""
    return Master(pid, 0, str(path))


one_step = pytest.mark.parametrize("one_step", [True, False], ids=["swaps", "renames"])


@pytest.fixture(autouse=True)
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test run with and without a file system that can swap two files."""
    if "one_step" in request.fixturenames and not request.getfixturevalue("one_step"):
        for name in ("exchange", "rename_new"):
            monkeypatch.setattr(taking_over, name, lambda *_: False)


@one_step
@pytest.mark.parametrize("there", ["nothing", "a dead socket", "the judged master"])
def test_a_free_path_is_taken(room: Room, one_step: bool, there: str) -> None:
    """On a free path the new socket is in place afterwards, and no other file is left."""
    del one_step
    old = None
    if there == "a dead socket":
        dead(room.path)
    elif there == "the judged master":
        old = master(room.listen(room.path), room.path)
    inode = room.fresh.stat().st_ino
    assert placed(room, lambda: None, old) is None
    assert room.path.stat().st_ino == inode
    assert not room.fresh.exists()


@one_step
def test_a_living_listener_keeps_its_path(room: Room, one_step: bool) -> None:
    """If a program already listens on the path, nothing is renamed."""
    del one_step
    pid = room.listen(room.path)
    inode = room.path.stat().st_ino
    found = placed(room, lambda: None)
    assert found is not None
    assert (found.pid, found.adoptable) == (pid, False)
    assert room.path.stat().st_ino == inode
    assert room.fresh.exists()


@pytest.mark.parametrize("there", ["nothing", "a dead socket", "the judged master"])
def test_a_listener_that_comes_after_the_check_keeps_the_path(room: Room, there: str) -> None:
    """A program that starts to listen between the check and the swap keeps the path, and lives."""
    old = None
    if there == "a dead socket":
        dead(room.path)
    elif there == "the judged master":
        old = master(room.listen(room.path), room.path)
    theirs: list[int] = []
    found = placed(room, lambda: theirs.append(room.listen(room.path)), old)
    assert found is not None
    assert [found.pid] == theirs
    looked = asyncio.run(Interrupted(lambda: None).holder(str(room.path)))
    assert cast("Holder", looked).pid == theirs[0]
    assert room.fresh.exists()


def test_a_master_that_ended_in_between_is_no_taken_path(room: Room) -> None:
    """If the server ends the connection right after the login, the reason says that, and blames no control path."""
    posted: list[Any] = []
    nothing: Any = None
    parts = replace(NO_PARTS, shell=cast("Any", SimpleNamespace(post=posted.append)))
    taking = MasterReplacer(parts, Interrupted(room.fresh.unlink), *[nothing] * 6)
    taking._unwanted = AsyncMock()  # type: ignore[method-assign]
    action = TakeOver("web01", 1, master(os.getpid(), room.fresh), None)
    assert not asyncio.run(taking._has_path(action, Host("web01"), str(room.path)))
    assert (posted[0].failure.kind, posted[0].failure.problem.code) == ("died", "unknown")
    taking._unwanted.assert_awaited_once()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_no_socket_is_left_where_it_is(room: Room, kind: str) -> None:
    """Another user's file at the path is not removed; a link is not followed."""
    if kind == "file":
        room.path.write_text("precious")
    elif kind == "link":
        room.path.symlink_to(room.fresh)
    else:
        room.path.mkdir()
    found = placed(room, lambda: None)
    assert found is not None
    assert (found.pid, found.adoptable) == (None, False)
    assert os.path.lexists(room.path)
    assert room.fresh.is_socket()
