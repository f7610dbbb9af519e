from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.ipc.errors import AlreadyRunning
from trayagent.ipc.one_agent_lock import Lock

HOLDER = """
import sys
from pathlib import Path
from trayagent.ipc.one_agent_lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Let another process hold the lock."""
    path = tmp_path / "agent.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield path, holder
        finally:
            holder.kill()


def test_the_second_agent_learns_the_firsts_pid(held: tuple[Path, subprocess.Popen[str]]) -> None:
    """The error names the process that holds the lock."""
    path, holder = held
    with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}") as caught:
        Lock(path).acquire()
    assert caught.value.pid == holder.pid


def test_a_killed_agents_lock_is_free(held: tuple[Path, subprocess.Popen[str]]) -> None:
    """The kernel releases a killed agent's lock, so no file has to be removed."""
    path, holder = held
    holder.kill()
    holder.wait(10)
    lock = Lock(path)
    lock.acquire()
    assert path.read_text().strip().isdigit()
    assert path.stat().st_mode & 0o777 == 0o600
    lock.release()
    assert path.read_text() == ""


def test_a_lock_is_taken_at_the_path_not_at_a_removed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a cleaner removes the file between open and lock, the lock creates it again."""
    path = tmp_path / "agent.lock"
    real, calls = fcntl.flock, list[int]()

    def removed_meanwhile(fd: int, operation: int) -> None:
        if not calls:
            path.unlink()
        calls.append(fd)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    lock = Lock(path)
    lock.acquire()
    assert len(calls) == 2
    assert path.exists()
    lock.release()


def test_an_unknown_holder_is_not_invented(tmp_path: Path) -> None:
    """If the holder's pid cannot be read, the error says so."""
    path = tmp_path / "agent.lock"
    first = Lock(path)
    first.acquire()
    path.write_text("")
    with pytest.raises(AlreadyRunning, match="not known"):
        Lock(path).acquire()
    first.release()
