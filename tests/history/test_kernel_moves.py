"""Moves of the kernel (MPTCP) in the history."""

from __future__ import annotations

from typing import Any

from trayagent.history.outages import outages


def event(at: str, name: str, **details: object) -> dict[str, Any]:
    """Return an event of one host as the history keeps it."""
    return {"at": f"2026-11-30T12:00:{at}Z", "event": name, "host": "web", **details}


def test_a_move_by_the_kernel_is_a_short_outage() -> None:
    """A connection that the kernel moved gives an outage as long as the move, with what moved it."""
    [found] = outages(
        [
            event("00.000", "connected", pid=1),
            event("10.350", "moved", by="mptcp", took_ms=350.0, sessions=2),
            event("10.351", "master-kept", pid=1, pairs=[["by", "mptcp"]]),
        ]
    )
    assert (found.began, found.ended) == ("2026-11-30T12:00:10.000Z", "2026-11-30T12:00:10.350Z")
    assert (found.moved_by, found.moved_ms, found.sessions_kept, found.took_ms) == ("mptcp", 350.0, 2, 350.0)
    assert found.words == "the network changed, and the connection moved with it"


def test_a_move_inside_an_outage_is_part_of_it() -> None:
    """If a login failed before the kernel moved the connection, there is one outage, and the move belongs to it."""
    [found] = outages(
        [
            event("00.000", "connected", pid=1),
            event("09.000", "connect-failed"),
            event("10.350", "moved", by="mptcp", took_ms=350.0, sessions=2),
            event("10.350", "master-kept", pid=1),
        ]
    )
    assert found.began == "2026-11-30T12:00:09.000Z"
    assert (found.moved_by, found.sessions_kept) == ("mptcp", 2)
