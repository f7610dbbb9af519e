"""Describe a host's draining masters: earlier connections that still carry sessions; pure.

A connection is an entry of a host's `draining` in `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from trayagent.presentation.times import clock
from trayagent.presentation.translation import _, ngettext

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def draining_lines(host: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Yield a line for each: "2 sessions still use the connection made at 14:02". An older agent reports none."""
    for one in host.get("draining", ()):
        made, sessions, connections = clock(one["since"], now), one["sessions"], one["connections"]
        if not sessions and not connections:
            yield _("the connection made at {time} is about to end").format(time=made)
            continue
        words = ngettext(
            "{sessions} still uses the connection made at {time}",
            "{sessions} still use the connection made at {time}",
            sessions + connections,
        )
        yield words.format(sessions=carried_words(sessions, connections), time=made)


def carried_words(sessions: int, connections: int) -> str:
    """Return for example "1 session and 2 forwarded connections"; "" if both numbers are 0."""
    words = []
    if sessions:
        words.append(session_count(sessions))
    if connections:
        many = ngettext("{count} forwarded connection", "{count} forwarded connections", connections)
        words.append(many.format(count=connections))
    return _("{one} and {other}").format(one=words[0], other=words[1]) if len(words) > 1 else "".join(words)


def session_count(sessions: int) -> str:
    """Return for example "2 sessions"."""
    return ngettext("{count} session", "{count} sessions", sessions).format(count=sessions)
