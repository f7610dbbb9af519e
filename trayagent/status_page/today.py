"""Summarize the day in one line: how often the network changed, and how fast hosts recovered; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from trayagent.history.outages import Outage
from trayagent.presentation.times import lasted
from trayagent.presentation.translation import _, ngettext

ONE_CHANGE = timedelta(seconds=30)
"""A move to another network causes several events, because addresses and routes appear one after the other."""


def today_line(events: Sequence[Mapping[str, Any]], outages: Sequence[Outage], now: datetime) -> str:
    """Return for example "Today: 6 changes of network, back in 0.9 s". Today begins at midnight, local time."""
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    moments = [datetime.fromisoformat(e["at"]) for e in events if e.get("event") == "network-changed"]
    changes = _changes(moments, midnight)
    words = _("no change of network")
    if changes:
        words = ngettext("{count} change of network", "{count} changes of network", changes).format(
            count=changes
        )
    today = [o for o in outages if o.ended is not None and datetime.fromisoformat(o.ended) >= midnight]
    took_s = [o.took_ms / 1000 for o in today if o.took_ms is not None]
    if len(took_s) == 1:
        return _("Today: {changes}, back in {time}.").format(changes=words, time=lasted(took_s[0]))
    if took_s:
        line = ngettext(
            "Today: {changes}, back in {time} (the median of {count} recovery).",
            "Today: {changes}, back in {time} (the median of {count} recoveries).",
            len(took_s),
        )
        return line.format(changes=words, time=lasted(median(took_s)), count=len(took_s))
    return _("Today: {changes}.").format(changes=words)


def _changes(moments: Sequence[datetime], since: datetime) -> int:
    """Count the changes since a moment. Events that follow each other closely are one change."""
    count, last = 0, None
    for at in moments:
        if at >= since:
            count += last is None or at - last > ONE_CHANGE
            last = at
    return count
