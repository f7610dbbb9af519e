"""Open, write, read and set aside the SQLite file, and define its schema."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE event (
    id   INTEGER PRIMARY KEY,
    at   REAL NOT NULL,      -- seconds since the epoch
    host TEXT,
    body TEXT NOT NULL       -- the event's JSON object
);
CREATE INDEX event_at ON event (at);
CREATE INDEX event_host ON event (host, at);
"""
BUSY_S = 2.0
"""Seconds to wait for a lock. Readers lock the file only briefly, so a longer wait has another cause."""
MOST_EVENTS = 200_000
"""About 80 MB. A network that goes up and down for weeks must not fill the disk."""
UNUSED_SHARE, UNUSED_PAGES = 0.25, 256
"""VACUUM copies the file, so only do it if it frees that share of the file, and 1 MB at least."""

BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SIDE_FILES = ("", "-wal", "-shm")


class NewerSchema(Exception):  # noqa: N818  # not an error, but the file must stay as it is
    """The file was written by a newer trayagent."""


class Row(Struct, frozen=True):
    """One event, ready to be written."""

    at: float
    host: str | None
    body: str


def row(event: dict[str, Any]) -> Row:
    """Return the row of an event object; raises KeyError, TypeError or ValueError for an invalid one."""
    at = datetime.fromisoformat(event["at"]).timestamp()
    return Row(at, _written(event.get("host")), json.dumps(event, separators=(",", ":")))


def _written(host: str | None) -> str | None:
    """Return a host's name as text that SQLite accepts, because a name in ssh_config may not be UTF-8."""
    return None if host is None else str(host).encode(errors="backslashreplace").decode()


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the file (mode 0600), creating it if it is missing; raises sqlite3.Error, OSError or NewerSchema."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its side files the mode of the main file, so set that first.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        path.chmod(0o600)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise NewerSchema
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last events, but no file
        if version < SCHEMA_VERSION:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def write(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add the rows in one transaction. If that raises sqlite3.Error, no row was written."""
    with _transaction(db):
        db.executemany(
            "INSERT INTO event (at, host, body) VALUES (?, ?, ?)", [(r.at, r.host, r.body) for r in rows]
        )


def prune(db: sqlite3.Connection, before: float) -> None:
    """Delete the events before a time (seconds since the epoch). Keep at most the newest MOST_EVENTS.

    If a quarter of the file is unused then, give the space back.
    """
    with _transaction(db):
        db.execute("DELETE FROM event WHERE at < ?", (before,))
        db.execute("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (MOST_EVENTS,))
    unused, pages = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
    if unused > max(pages * UNUSED_SHARE, UNUSED_PAGES):
        with contextlib.suppress(sqlite3.OperationalError):  # the disk has no room for a copy
            db.execute("VACUUM")
    # The file itself only becomes smaller here. While it is being read, this is left to the next time.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def read(path: Path, host: str | None, since: float) -> list[dict[str, Any]]:
    """Return the events of a host since a time, oldest first. None: all events, also those without a host.

    Opens the file for this query only; raises sqlite3.Error or NewerSchema. A missing file has no events.
    """
    if not path.exists():
        return []
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    with contextlib.closing(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise NewerSchema
        if version == 0:  # the file was created, but has no tables yet
            return []
        name = _written(host)
        query = "SELECT body FROM event WHERE at >= ? AND (? IS NULL OR host = ?) ORDER BY at, id"
        return [_event(body) for (body,) in db.execute(query, (since, name, name))]


def _event(body: str) -> dict[str, Any]:
    try:
        return _DECODE(body)
    except DecodeError:  # a name that is not UTF-8, which only json reads
        event: dict[str, Any] = json.loads(body)
        return event


_DECODE = Decoder(dict[str, Any]).decode  # twice as fast as json


def put_aside(path: Path) -> Path:
    """Rename a broken file and its side files, and return the new path. Raises OSError."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.broken-{stamp}")
    for side in SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{side}").rename(f"{aside}{side}")
    return aside


def is_broken(error: Exception) -> bool:
    """Report whether the file itself is damaged; a full or read-only disk does not count."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in BROKEN


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Any:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
