"""The agent's events in words for a first-time viewer. No side effects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Red for losses, green for successes, no colour for steps in between.
STYLES = {
    "master-stale": "yellow",
    "master-killed": "red",
    "connected": "green",
    "forward-open": "green",
    "master-kept": "green",
    "moved": "bold green",
    "connect-failed": "red",
    "forward-failed": "red",
}


def of_event(event: Mapping[str, Any]) -> str:
    """Return a line about an event. For an event without a text here, return its name and reason."""
    pid = event.get("pid")
    match event["event"]:
        case "network-changed":
            return f"the kernel says: {of_change(event)}"
        case "connecting":
            return "a new login begins; until it succeeds, nothing is killed"
        case "master-stale":
            return f"the login works, master {pid} is cut off: proven stale"
        case "master-killed":
            return f"master {pid} is killed"
        case "connected":
            return f"master {pid} has taken its place, on the same control path"
        case "forward-open":
            return f"the forward {event['forward']} is open again"
        case "connect-failed":
            return f"no login: {event['reason']}"
        case "moved":
            return "the open session goes on"
        case "master-kept":
            return f"the connection answers: master {pid} is kept"
    return f"{event['event']} {event.get('reason') or ''}".strip()


def of_change(event: Mapping[str, Any]) -> str:
    """Return the changed addresses and interfaces of a `network-changed` event, "" if it has only other changes."""
    endings = {"added": "is here", "removed": "is gone"}
    states = {"up", "down"}
    words = []
    for key, value in event["pairs"]:
        if key in endings:
            words.append(f"{value} {endings[key]}")
        elif key in states:
            words.append(f"{value} is {key}")
    return ", ".join(words)


def moment(event: Mapping[str, Any], wall_offset_s: float) -> float:
    """Return the time of an event in monotonic seconds. `wall_offset_s` is the wall clock minus the monotonic one."""
    return datetime.fromisoformat(event["at"]).timestamp() - wall_offset_s


def times(count: int) -> str:
    """Return a number of times in words."""
    return "once" if count == 1 else f"{count} times"


def milliseconds(since: float, at: float) -> str:
    """Return in words how many milliseconds passed between two monotonic times.

    The demo reads the clock after the command that made the change has ended. Events that the agent saw a few
    milliseconds earlier count as 0 ms.
    """
    return f"{max(0.0, at - since) * 1000:.0f} ms"


def summary(took_s: float, cold_s: float, returned_s: float, *, recovered: bool, kept: bool) -> list[str]:
    """Return the first paragraphs of the summary: the measured times."""
    if not recovered:
        return ["The forward answers, but not through a new master: the recovery was not seen."]
    text = (
        f"The forward was back {took_s * 1000:.0f} ms after the change of network: {took_s / cold_s:.2f} times "
        f"what a plain ssh took from its start to its first byte here ({cold_s * 1000:.0f} ms)."
    )
    if not kept:
        return [text, "The link's return replaced a master that should have been kept."]
    return [f"{text} When the link returned, the same connection went on after {returned_s * 1000:.0f} ms."]


def about_plain(silent_s: float, answered: bool, check: str) -> str:
    """Return the last paragraph: whether the plain ssh recovered, and what `ssh -O check` prints about it."""
    if answered:
        return f"The plain ssh answered again {silent_s:.1f} s after the change of network."
    text = (
        f"The plain ssh has been silent for {silent_s:.1f} s. Without ServerAliveInterval it does not notice"
    )
    return f"{text}; ssh -O check says: {check}" if check else f"{text}."
