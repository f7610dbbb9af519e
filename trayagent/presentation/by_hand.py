"""Describe forwards that the user gave to ssh by hand; pure.

A forward is an entry of a host's `forwards` in `status --json`, with `by_hand`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.text import clean

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

BY_HAND = "by hand"


def by_hand_mark(forward: Mapping[str, Any]) -> str:
    """Return " (by hand)" for a forward that the user gave to ssh by hand. An older agent does not report this."""
    return f" ({BY_HAND})" if forward.get("by_hand") else ""


def unknown_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each port that the user forwarded by hand, and whose target the agent does not know.

    An older agent does not report those that ended with the last master.
    """
    for listen in host.get("unknown_listens", ()):
        yield (
            f"You forwarded {clean(listen)} by hand. The agent cannot read its target, so this forward ends when the "
            f"network changes. {_to_keep_it(host, listen)}"
        )
    for listen in host.get("ended_listens", ()):
        yield (
            f"Your forward of {clean(listen)} ended with the old connection, because the agent could not read its "
            f"target. Give it to ssh again. {_to_keep_it(host, listen)}"
        )


def _to_keep_it(host: Mapping[str, Any], listen: str) -> str:
    name, port = clean(host["name"]), clean(listen).rpartition(":")[2]
    return f"To keep it: trayagent keep {name} -L {port}:TARGET:PORT, or -D {port} for a SOCKS proxy"
