"""Draw charts of outages as HTML fragments with inline SVG that stretch with the page; pure.

The SVG contains shapes only, because it is stretched. Labels are text beside it, so that they stay legible
on a phone.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from trayagent.history.outages import Outage, Sighting
from trayagent.presentation.text import clean
from trayagent.presentation.times import date, day_and_month
from trayagent.presentation.translation import _, agent_text, ngettext, number, to_translate

Lasted = Callable[[float], str]
"""Formats a duration in seconds for the user."""

# Upper limits in seconds. A recovery takes a second; a longer recovery needed the user or another network.
STEPS_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
STEP_WORDS = ("< 0.5 s", "< 1 s", "< 2 s", "< 5 s", "< 15 s", "< 1 min", to_translate("more"))
TICKS = 5
MOST_BARS = 31
"""Enough for the days of a month. In a longer period each bar is a week or more."""
MANY = 11
"""With this many bars or more, full labels would overlap."""
_THIN = 0.15
"""The least width of an outage in per cent, so that the shortest outage is visible."""


class Period(Struct, frozen=True):
    """The period that the page covers."""

    since: datetime
    until: datetime

    def share(self, moment: datetime) -> float:
        """Return the position of a moment in the period, in per cent. A moment outside gets the nearest edge."""
        whole = (self.until - self.since).total_seconds()
        return min(max((moment - self.since).total_seconds() / whole * 100, 0.0), 100.0)

    def seconds_of(self, outage: Outage) -> float:
        """Return how many seconds of an outage are in the period. A continuing outage lasts until the period's end."""
        begin, end = ends(outage, self)
        return max((min(end, self.until) - max(begin, self.since)).total_seconds(), 0.0)

    def later(self, moment: str) -> Period:
        """Return the part of the period after a moment (RFC 3339); it may be empty."""
        return Period(min(max(datetime.fromisoformat(moment), self.since), self.until), self.until)


def ends(outage: Outage, period: Period) -> tuple[datetime, datetime]:
    """Return when an outage began and ended. For an outage that continues, the end is the period's end."""
    end = datetime.fromisoformat(outage.ended) if outage.ended is not None else period.until
    return datetime.fromisoformat(outage.began), end


def text(words: object) -> str:
    """Return a value as HTML text: escaped, without control characters."""
    return html.escape(clean(str(words)))


def moment(at: datetime) -> str:
    """Return a moment in the local time zone, as text."""
    local = at.astimezone()
    return f"{date(local)} {local:%H:%M}"


def timeline(hosts: Mapping[str, Sighting], outages: Sequence[Outage], period: Period, lasted: Lasted) -> str:
    """Return a strip for each host that shows when its outages were. It is grey before the first connection."""
    rows = [
        _strip(host, seen, [o for o in outages if o.host == host], period, lasted)
        for host, seen in sorted(hosts.items())
    ]
    return f'<div class="timeline">{"".join(rows)}<span></span><div class="axis">{_ticks(period)}</div></div>'


def recovery_times(took_s: Sequence[float]) -> str:
    """Return bars that count the recoveries by duration."""
    counts = [0] * len(STEP_WORDS)
    for seconds in took_s:
        counts[sum(seconds >= step for step in STEPS_S)] += 1
    return _bars([*zip((number(_(word)) for word in STEP_WORDS), counts, strict=True)])


def outages_by_day(outages: Sequence[Outage], period: Period) -> str:
    """Return bars that count the outages by the day on which they began. In a long period a bar is several days."""
    first = period.since.astimezone().date()
    days = (period.until.astimezone().date() - first).days + 1
    size = -(-days // MOST_BARS)
    if size > 1:
        size = max(size, 7)
    counts = [0] * -(-days // size)
    for outage in outages:
        day = (datetime.fromisoformat(outage.began).astimezone().date() - first).days
        if 0 <= day < days:
            counts[day // size] += 1
    labels = [day_and_month(first + timedelta(days=bar * size)) for bar in range(len(counts))]
    return _bars([*zip(labels, counts, strict=True)])


def _strip(host: str, seen: Sighting, outages: Sequence[Outage], period: Period, lasted: Lasted) -> str:
    label = ngettext("{count} outage", "{count} outages", len(outages)).format(count=len(outages))
    shapes = "".join(_gap(outage, period, lasted) for outage in outages)
    strip = f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{text(label)}">'
    strip += f'<rect class="unknown" width="100" height="10"/>{_well(seen, period)}{shapes}</svg>'
    return f'<span class="host">{text(host)}</span>{strip}'


def _well(seen: Sighting, period: Period) -> str:
    if seen.connected is None:
        return ""
    left = period.share(datetime.fromisoformat(seen.connected))
    return f'<rect class="well" x="{left:.3f}" width="{100 - left:.3f}" height="10"/>'


def _gap(outage: Outage, period: Period, lasted: Lasted) -> str:
    begin, end = ends(outage, period)
    left, right = period.share(begin), period.share(end)
    width = max(right - left, _THIN)
    took = _("still") if outage.ended is None else lasted((outage.duration_ms or 0.0) / 1000)
    if outage.no_network_ms:
        gone = lasted(outage.no_network_ms / 1000)
        took = _("{duration}, no network for {time}").format(duration=took, time=gone)
    title = f"{outage.host}: {moment(begin)}, {took}: {agent_text(outage.words)}"
    left = min(left, 100 - width)
    return f'<rect class="gap" x="{left:.3f}" width="{width:.3f}" height="10"><title>{text(title)}</title></rect>'


def _ticks(period: Period) -> str:
    step = (period.until - period.since) / (TICKS - 1)
    short = period.until - period.since <= timedelta(days=2)
    moments = [(period.since + step * tick).astimezone() for tick in range(TICKS)]
    labels = (f"{at:%H:%M}" if short else day_and_month(at) for at in moments)
    return "".join(f"<span>{text(label)}</span>" for label in labels)


def _bars(columns: Sequence[tuple[str, int]]) -> str:
    highest = max((count for _, count in columns), default=0) or 1
    kind = "bars many" if len(columns) > MANY else "bars"
    return f'<div class="{kind}">{"".join(_bar(label, count, highest) for label, count in columns)}</div>'


def _bar(label: str, count: int, highest: int) -> str:
    height = count / highest * 100
    return (
        f'<div><span class="count">{count or ""}</span>'
        '<svg viewBox="0 0 10 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar" y="{100 - height:.1f}" width="10" height="{height:.1f}"/></svg>'
        f'<span class="label">{text(label)}</span></div>'
    )
