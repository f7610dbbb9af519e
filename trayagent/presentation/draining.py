"""Describe a host's draining masters: earlier connections that still carry sessions; pure.

A connection is an entry of a host's `draining` in `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from trayagent.presentation.times import clock

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def draining_lines(host: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Yield a line for each: "2 sessions still use the connection made at 14:02". An older agent reports none."""
    for one in host.get("draining", ()):
        of = f"the connection made at {clock(one['since'], now)}"
        sessions, connections = one["sessions"], one["connections"]
        if not sessions and not connections:
            yield f"{of} is about to end"
            continue
        verb = "uses" if sessions + connections == 1 else "use"
        yield f"{carried_words(sessions, connections)} still {verb} {of}"


def carried_words(sessions: int, connections: int) -> str:
    """Return for example "1 session and 2 forwarded connections"; "" if both numbers are 0."""
    words = [
        f"{count} {what}{'s' * (count != 1)}"
        for count, what in ((sessions, "session"), (connections, "forwarded connection"))
        if count
    ]
    return " and ".join(words)
