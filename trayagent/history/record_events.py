"""Record events for the agent: never wait for the disk, and survive a broken file."""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trayagent.errors import TrayagentError
from trayagent.history import database
from trayagent.history.database import NewerSchema, Row

log = logging.getLogger(__name__)

WAITING_MOST = 4096
"""Events that may wait for a slow disk; about 1 MB."""

Job = Row | Callable[[sqlite3.Connection], None] | threading.Event | None


class History:
    """The history in the file `path`. The first record creates the file.

    `record` and `prune` queue their work for one thread, which sleeps between events. If no more events can be kept,
    that thread calls `report` once with the reason.
    """

    def __init__(self, path: Path, report: Callable[[str], None] = log.warning) -> None:
        self._path = path
        self._report = report
        self._jobs: queue.Queue[Job] = queue.Queue(WAITING_MOST)
        self._thread: threading.Thread | None = None
        self._reported = False
        self._put_aside = False
        self._closed = False

    def record(self, event: dict[str, Any]) -> None:
        """Queue an event object (`at` in RFC 3339, `event`, `host`, …) for the file. Never raises, never waits."""
        try:
            self._put(database.row(event))
        except (KeyError, TypeError, ValueError) as error:
            log.error("history: not an event: %r", event, exc_info=error)

    def prune(self, keep_s: float) -> None:
        """Queue the deletion of events that are older than `keep_s` seconds."""
        before = time.time() - keep_s
        self._put(lambda db: database.prune(db, before))

    def events(self, host: str | None = None, since: float = 0.0) -> list[dict[str, Any]]:
        """Return the recorded events of a host (None: all) since a time in seconds of the epoch, oldest first.

        Needs no running agent. Waits for the disk. Raises HistoryUnreadable.
        """
        try:
            return database.read(self._path, host, since)
        except NewerSchema as error:
            raise HistoryUnreadable(self._path, "it was written by a newer trayagent") from error
        except (sqlite3.Error, OSError, ValueError) as error:
            raise HistoryUnreadable(self._path, str(error)) from error

    def flush(self, timeout_s: float) -> bool:
        """Wait until all earlier records are written; report whether that happened in time."""
        done = threading.Event()
        self._put(done)
        return self._thread is None or done.wait(timeout_s)

    def close(self, timeout_s: float = 0.3) -> None:
        """Write the queued events and end the thread. Wait for `timeout_s` at most, because the disk may hang."""
        self._closed = True
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._jobs.put_nowait(None)
            self._thread.join(timeout_s)

    def _put(self, job: Job) -> None:
        if self._closed:
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._report_once("the disk is too slow, events are lost")
            return
        if self._thread is None:
            # A daemon thread, so that a hanging disk cannot keep the agent from ending.
            self._thread = threading.Thread(target=self._work, name="history", daemon=True)
            self._thread.start()

    def _report_once(self, why: str) -> None:
        if not self._reported:
            self._reported = True
            self._report(f"The history {self._path} is no longer recorded: {why}.")

    # The methods below run in the thread.

    def _work(self) -> None:
        """Write queued events, several in one transaction if possible, until `close`."""
        db: sqlite3.Connection | None = None
        going = True
        while going:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    jobs.append(self._jobs.get_nowait())
            # `close` cannot add None to a full queue. Then a later round sees `_closed`.
            going = None not in jobs and not (self._closed and self._jobs.empty())
            db = self._carry_out(db, jobs)
            for job in jobs:
                if isinstance(job, threading.Event):
                    job.set()
        if db is not None:
            db.close()

    def _carry_out(self, db: sqlite3.Connection | None, jobs: list[Job]) -> sqlite3.Connection | None:
        """Do the jobs. Return the connection for the next jobs, or None if the next jobs must open the file again."""
        try:
            db = db or database.open_to_write(self._path)
            if rows := [job for job in jobs if isinstance(job, Row)]:
                database.write(db, rows)
            for job in jobs:
                if callable(job):
                    job(db)
        except NewerSchema:
            self._report_once("it was written by a newer trayagent")
        except (sqlite3.Error, OSError) as error:
            if db is not None:
                db.close()
            if database.is_broken(error) and self._start_over():
                return self._carry_out(None, jobs)
            self._report_once(str(error))
            return None
        except Exception:  # one bad event must not cost all later events
            log.exception("history: events are lost")
        return db

    def _start_over(self) -> bool:
        """Rename the broken file, but only once. Report whether that was done."""
        if self._put_aside:
            return False
        self._put_aside = True
        try:
            aside = database.put_aside(self._path)
        except OSError:
            return False
        log.warning("history: %s was broken and is now %s", self._path, aside)
        return True


class HistoryUnreadable(TrayagentError):  # noqa: N818  # the name says what happened; users see the text
    """The history cannot be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"The history {path} cannot be read: {why}.",
            code="history-unreadable",
            hint="Move the file away; the agent starts a new one.",
        )
