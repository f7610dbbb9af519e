"""Render one self-contained HTML page about a period: without scripts, light or dark like the reader's desktop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from statistics import median

from trayagent.history.charts import (
    Lasted,
    Period,
    ends,
    moment,
    outages_by_day,
    recovery_times,
    text,
    timeline,
)
from trayagent.history.outages import Outage, Sighting
from trayagent.presentation.translation import _, agent_text, language, ngettext, number

MOST_ROWS = 500
"""The most rows in the table; the charts include all outages."""

STYLE = Path(__file__).with_name("page.css")
_META = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def head() -> str:
    """Return the beginning of a page, in the language of its text."""
    return f'<!DOCTYPE html>\n<html lang="{language()}"><head>{_META}'


def page(hosts: Mapping[str, Sighting], outages: Sequence[Outage], period: Period, lasted: Lasted) -> str:
    """Return the page for these hosts and for the outages that overlap the period, oldest first."""
    since, until = moment(period.since), moment(period.until)
    title = _("Outages from {since} to {until}").format(since=since, until=until)
    beneath = _("{since} to {until}, by trayagent").format(since=since, until=until)
    parts = [
        f"{head()}<title>{text(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>",
        f"<h1>{text(_('Outages of ssh connections'))}</h1><p>{text(beneath)}</p>",
        *(report(hosts, outages, period, lasted) if outages else _nothing(hosts)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _nothing(hosts: Mapping[str, Sighting]) -> list[str]:
    title = _("No outage")
    if hosts:
        title = ngettext("No outage of {count} host", "No outage of {count} hosts", len(hosts))
    words = _("No connection was lost in this period, or no agent was running.")
    return [f"<h2>{text(title.format(count=len(hosts)))}</h2>", f"<p>{text(words)}</p>"]


def report(
    hosts: Mapping[str, Sighting],
    outages: Sequence[Outage],
    period: Period,
    lasted: Lasted,
    *,
    level: int = 2,
) -> list[str]:
    """Return the charts and tables about these outages. `level` is the level of the headings."""

    def heading(words: str) -> str:
        return f"<h{level}>{text(words)}</h{level}>"

    took_s = [o.took_ms / 1000 for o in outages if o.took_ms is not None]
    return [
        _tiles(outages, took_s, period, lasted),
        f"{heading(_('When'))}{timeline(hosts, outages, period, lasted)}",
        *([f"{heading(_('How long a recovery took'))}{recovery_times(took_s)}"] if took_s else []),
        f"{heading(_('How often'))}{outages_by_day(outages, period)}",
        f"{heading(_('Outages by host') if level > 2 else _('Hosts'))}{_by_host(hosts, outages, period, lasted)}",
        _each(outages, period, lasted),
    ]


def _tiles(outages: Sequence[Outage], took_s: Sequence[float], period: Period, lasted: Lasted) -> str:
    longest = max(period.seconds_of(outage) for outage in outages)
    tiles = [
        (str(len(outages)), ngettext("outage", "outages", len(outages))),
        (lasted(median(took_s)) if took_s else "-", _("the median recovery")),
        (lasted(max(took_s)) if took_s else "-", _("the slowest recovery")),
        (lasted(longest), _("the longest outage")),
    ]
    if no_network_ms := max(o.no_network_ms for o in outages):
        tiles.append((lasted(no_network_ms / 1000), _("the longest time without a network")))
    cells = (f"<div><b>{text(value)}</b><span>{text(what)}</span></div>" for value, what in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _by_host(hosts: Mapping[str, Sighting], outages: Sequence[Outage], period: Period, lasted: Lasted) -> str:
    rows = []
    for host, seen in sorted(hosts.items()):
        own = [o for o in outages if o.host == host]
        away = [period.seconds_of(o) for o in own]
        took_s = [o.took_ms / 1000 for o in own if o.took_ms is not None]
        no_network_s = sum(o.no_network_ms for o in own) / 1000
        rows.append(
            (
                host,
                str(len(own)),
                lasted(sum(away)) if own else "-",
                lasted(no_network_s) if no_network_s else "-",
                _there(seen, own, period),
                lasted(median(took_s)) if took_s else "-",
            )
        )
    return _table(
        (_("host"), _("outages"), _("away"), _("no network"), _("connected"), _("median recovery")),
        rows,
        words={0},
    )


def _there(seen: Sighting, outages: Sequence[Outage], period: Period) -> str:
    """Return in per cent how long a host was connected, of the time since it was first known."""
    if seen.connected is None:
        return _("never")
    known, there = period.later(seen.first), period.later(seen.connected)
    known_s = (known.until - known.since).total_seconds()
    there_s = (there.until - there.since).total_seconds() - sum(map(there.seconds_of, outages))
    return number(f"{max(there_s / known_s, 0.0):.2%}") if known_s > 0 else "-"


def _each(outages: Sequence[Outage], period: Period, lasted: Lasted) -> str:
    rows = []
    for outage in reversed(outages[-MOST_ROWS:]):
        begin = ends(outage, period)[0]
        going = _("{duration}, still").format(duration=lasted(period.seconds_of(outage)))
        took = lasted(outage.took_ms / 1000) if outage.took_ms is not None else ""
        duration = going if outage.duration_ms is None else lasted(outage.duration_ms / 1000)
        network = lasted(outage.no_network_ms / 1000) if outage.no_network_ms else ""
        if outage.no_network_since is not None:
            network = _("since {time}").format(time=moment(datetime.fromisoformat(outage.no_network_since)))
        rows.append((moment(begin), outage.host, duration, network, took, agent_text(outage.words)))
    what = _("Each outage")
    if len(outages) > MOST_ROWS:
        what = _("The last {shown} of {count} outages").format(shown=MOST_ROWS, count=len(outages))
    columns = (_("began"), _("host"), _("lasted"), _("no network for"), _("then back in"), _("why"))
    return (
        f"<details><summary>{text(what)}</summary>{_table(columns, rows, words={1, 5}, times={0})}</details>"
    )


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: AbstractSet[int],
    times: AbstractSet[int] = frozenset(),
) -> str:
    """Return a table. The columns in `words` wrap, those in `times` do not, and all others are numbers."""

    def cell(tag: str, column: int, shown: str) -> str:
        kind = "words" if column in words else "time" if column in times else "number"
        return f'<{tag} class="{kind}">{text(shown)}</{tag}>'

    lines = ["".join(cell("th", column, words) for column, words in enumerate(head))]
    lines += ["".join(cell("td", column, words) for column, words in enumerate(row)) for row in rows]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'
