"""Describe the sessions of a host that roams; pure. `roaming` is that entry of a host in `status --json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def roaming_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line while sessions wait: "3 sessions wait for the next connection". An older agent reports none."""
    roaming = host.get("roaming")
    if roaming is None or roaming["attached"]:
        return
    sessions = roaming["sessions"]
    if sessions:
        verb = "waits" if sessions == 1 else "wait"
        yield f"{sessions} session{'s' * (sessions != 1)} {verb} for the next connection"
    else:
        yield "its sessions wait for the next connection"
