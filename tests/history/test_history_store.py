from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trayagent.history import database
from trayagent.history.record_events import History, HistoryUnreadable

WITHIN_S = 10.0
HANGS_S = 120.0  # longer than 10,000 records take on a busy machine


def event(number: int = 0, host: str | None = "web") -> dict[str, Any]:
    at = datetime.fromtimestamp(1_700_000_000 + number, UTC).isoformat().replace("+00:00", "Z")
    return {"at": at, "event": "connected", "host": host, "reason": "né", "took_ms": 4.5}


@pytest.fixture
def told() -> list[str]:
    """Collect the reports of the history."""
    return []


@pytest.fixture
def history(tmp_path: Path, told: list[str]) -> Iterator[History]:
    """Yield a history in a directory that does not exist yet."""
    history = History(tmp_path / "state" / "history.sqlite", told.append)
    yield history
    history.close(WITHIN_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the history's database."""
    return tmp_path / "state" / "history.sqlite"


def test_what_is_recorded_can_be_read_again(history: History, told: list[str]) -> None:
    """Recorded events are read back completely, oldest first, for one host or all, since a time."""
    recorded = [event(1, "a"), event(0, "b"), event(2, None)]
    for each in recorded:
        history.record(each)
    assert history.flush(WITHIN_S)
    assert history.events() == [recorded[1], recorded[0], recorded[2]]
    assert history.events("a") == [recorded[0]]
    assert history.events(since=1_700_000_001) == [recorded[0], recorded[2]]
    assert told == []


def test_a_host_whose_name_is_not_utf_8_is_kept_as_any_other(history: History, told: list[str]) -> None:
    """A host name in Latin-1 is kept, and so are later events."""
    odd, other = event(0, "b\udcf6x"), event(1, "b\udcfcx")
    history.record(odd)
    history.record(other)
    assert history.flush(WITHIN_S)
    assert history.events() == [odd, other]
    assert history.events("b\udcf6x") == [odd]
    assert told == []


def test_what_goes_wrong_with_one_event_does_not_end_the_history(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug while writing is logged, and the next event is kept."""
    real = database.write

    def broken(*_: object) -> None:
        monkeypatch.setattr(database, "write", real)
        raise ValueError

    monkeypatch.setattr(database, "write", broken)
    history.record(event(0))
    assert history.flush(WITHIN_S)
    assert "are lost" in caplog.text
    history.record(event(1))
    assert history.flush(WITHIN_S)
    assert history.events() == [event(1)]


def test_a_history_that_was_never_written_is_empty(history: History, path: Path) -> None:
    """Reading or closing a history that was never written creates no file and no thread."""
    assert history.events() == []
    assert not path.parent.exists()


def test_the_files_are_this_users_alone(history: History, path: Path) -> None:
    """The directory has mode 0700, the database and its side files 0600, whatever the umask."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)
    before = os.umask(0o022)
    try:
        history.record(event())
        assert history.flush(WITHIN_S)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_another_process_reads_while_the_agent_writes(history: History, path: Path) -> None:
    """`trayagent history` reads the file without the agent."""
    history.record(event())
    assert history.flush(WITHIN_S)
    code = "import sys; from pathlib import Path; from trayagent.history.record_events import History;"
    code += "print(len(History(Path(sys.argv[1])).events('web')))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_history_survives_the_agent(path: Path, history: History) -> None:
    """The next agent continues the same file."""
    history.record(event(0))
    history.close(WITHIN_S)
    second = History(path)
    second.record(event(1))
    second.close(WITHIN_S)
    assert len(second.events()) == 2


def test_old_events_are_dropped(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that are too old or beyond the limit are dropped. The newest stay."""
    monkeypatch.setattr(database, "MOST_EVENTS", 3)
    now = int(time.time()) - 1_700_000_000
    for number in (0, now - 5, now - 4, now - 3, now - 2, now - 1):
        history.record(event(number))
    history.prune(3600)
    assert history.flush(WITHIN_S)
    assert [e["at"] for e in history.events()] == [event(n)["at"] for n in (now - 3, now - 2, now - 1)]


def test_pruning_gives_the_space_back(history: History, path: Path) -> None:
    """If a year's events are dropped, the file and its side files become small again, also while it is being read."""
    now = int(time.time()) - 1_700_000_000
    with contextlib.closing(database.open_to_write(path)) as db:
        database.write(db, [database.row(event(n)) for n in range(30_000)])
    history.record(event(now))
    assert history.flush(WITHIN_S)
    full = sum(file.stat().st_size for file in path.parent.iterdir())
    with contextlib.closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (30_001,)
        history.prune(3600)
        assert history.flush(WITHIN_S)
    history.prune(3600)
    assert history.flush(WITHIN_S)
    assert [e["at"] for e in history.events()] == [event(now)["at"]]
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < full / 20


@pytest.mark.parametrize("damage", [b"this is no database at all" * 50, None])
def test_a_broken_file_is_put_aside_and_a_new_one_begun(
    history: History, path: Path, told: list[str], damage: bytes | None
) -> None:
    """A file that is no database or is damaged is renamed without a report. No existing file is overwritten."""
    path.parent.mkdir()
    if damage is None:
        first = History(path)
        for number in range(500):
            first.record(event(number))
        first.close(WITHIN_S)
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        damage = bytes(content)
    path.write_bytes(damage)
    history.record(event())
    assert history.flush(WITHIN_S)
    assert history.events() == [event()]
    (aside,) = path.parent.glob("*.broken-*[0-9]")
    assert aside.read_bytes()[4096:8192] == damage[4096:8192]
    assert told == []


def test_a_file_that_breaks_again_is_reported_once_and_stops_nothing(
    history: History, path: Path, told: list[str]
) -> None:
    """One broken file is set aside.

    If the next one breaks, too, the history reports that once, and recording does not raise.
    """
    for _ in range(3):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no database " * 100)
        history.record(event())
        assert history.flush(WITHIN_S)
        if history._thread is not None and not told:
            history.close(WITHIN_S)
            history._closed, history._thread = False, None
    assert len(told) == 1
    assert len(list(path.parent.glob("*.broken-*"))) == 1


def test_a_full_disk_is_reported_once_and_stops_nothing(tmp_path: Path, told: list[str]) -> None:
    """If every write fails, the agent gets one report, and reading raises an error with the reason."""
    history = History(Path("/dev/full/history.sqlite"), told.append)
    for _ in range(5):
        history.record(event())
        assert history.flush(WITHIN_S)
    history.close(WITHIN_S)
    assert len(told) == 1
    assert "is no longer recorded" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_a_full_database_is_reported_once_and_written_again_later(
    history: History, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's "disk is full" (here caused by a page limit) is temporary: the file stays, and writing resumes."""
    real = database.open_to_write
    pages = 10

    def small(path: Path) -> sqlite3.Connection:
        db = real(path)
        db.execute(f"PRAGMA max_page_count = {pages}")
        return db

    monkeypatch.setattr(database, "open_to_write", small)
    for number in range(600):
        history.record(event(number))
        if number % 100 == 0:
            history.flush(WITHIN_S)
    assert history.flush(WITHIN_S)
    assert len(told) == 1
    assert "full" in told[0]
    kept = len(history.events())
    pages = 10_000
    history.record(event(1000))
    history.record(event(1001))
    assert history.flush(WITHIN_S)
    assert len(history.events()) == kept + 2


def test_a_newer_trayagents_file_is_left_alone(history: History, path: Path, told: list[str]) -> None:
    """After a downgrade, a newer version's file is neither written nor set aside."""
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    db.close()
    history.record(event())
    assert history.flush(WITHIN_S)
    assert told == [f"The history {path} is no longer recorded: it was written by a newer trayagent."]
    with pytest.raises(HistoryUnreadable, match="newer"):
        history.events()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_slow_disk_does_not_keep_the_agent_waiting(
    history: History, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a write hangs, recording and closing return immediately, and the queue is bounded."""
    released = threading.Event()
    writing = threading.Event()
    written = threading.Event()

    def hang(*_: object) -> None:
        writing.set()
        released.wait(HANGS_S)
        written.set()

    monkeypatch.setattr(database, "write", hang)
    history.record(event())
    assert writing.wait(WITHIN_S)
    for number in range(10_000):
        history.record(event(number))
    history.close(0.05)
    assert not written.is_set()
    assert len(told) == 1
    assert "too slow" in told[0]
    released.set()
    assert history._thread is not None
    history._thread.join(WITHIN_S)
    assert not history._thread.is_alive()


@pytest.mark.parametrize("wrong", [{}, {"at": "yesterday"}, {"at": None}, event() | {"x": object()}])
def test_what_is_no_event_is_logged_and_stops_nothing(
    history: History, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An object that is no event is logged, and recording continues."""
    history.record(wrong)
    assert "not an event" in caplog.text


def test_a_broken_file_cannot_be_read_silently(path: Path, history: History) -> None:
    """Reading a broken file raises an error that explains what to do."""
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    with pytest.raises(HistoryUnreadable, match="cannot be read") as caught:
        history.events()
    assert "Move the file away" in caught.value.hint
