"""The state of a host in words, with its times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from trayagent.presentation.host_state import state_words

NOW = datetime(2026, 1, 1, 16, 39, tzinfo=UTC)
SILENT = {"code": "timed-out", "title": "nas does not answer", "hint": ""}


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone to UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"state": "connected", "since": "2026-01-01T14:02:00Z"}, "connected since 14:02"),
        ({"state": "connected"}, "connected"),
        (
            {
                "state": "waiting",
                "since": "2026-01-01T16:38:00Z",
                "failing_since": "2026-01-01T16:34:00Z",
                "next_retry": "2026-01-01T16:40:05Z",
                "problem": SILENT,
            },
            "no answer since 16:34, next try 16:40:05",
        ),
        (
            {"state": "waiting", "since": "2026-01-01T16:38:00Z", "problem": SILENT},
            "no answer since 16:38",
        ),
        (
            {"state": "failed", "next_retry": "2026-01-01T16:40:05Z", "problem": {"code": "disk-full"}},
            "failed, next try 16:40:05",
        ),
    ],
    ids=["connected", "unknown since", "no answer", "an older agent", "failed"],
)
def test_a_state_comes_with_its_times(given: dict[str, Any], words: str) -> None:
    """A host that waits says why, since the first failure, and when the agent tries again."""
    assert (
        state_words({"since": None, "next_retry": None, "problem": None, "pid": None, **given}, NOW) == words
    )
