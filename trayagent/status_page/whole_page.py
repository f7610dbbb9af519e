"""Render the status page: hosts, forwards, today, outages and recent decisions. It needs no script.

Every text from the view is cleaned and escaped, because servers and other programs supply parts of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trayagent.history.charts import Period, text
from trayagent.history.history_page import STYLE as HISTORY_STYLE
from trayagent.history.history_page import head, report
from trayagent.history.outages import Outage, Sighting
from trayagent.presentation import summary
from trayagent.presentation.times import clock, lasted
from trayagent.presentation.translation import _, ngettext
from trayagent.status_page.hosts import hosts_section, vpns_section
from trayagent.status_page.today import today_line

STYLE = Path(__file__).with_name("page.css")
REFRESH = "trayagent status --html FILE"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a host: `at` is RFC 3339, `meaning` a sentence."""

    at: str
    host: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Past:
    """The events (oldest first), what was computed from them, and recent decisions.

    `unreadable` says why the history cannot be read.
    """

    events: Sequence[Mapping[str, Any]]
    sightings: Mapping[str, Sighting]
    outages: Sequence[Outage]
    period: Period
    decisions: Sequence[Decision]
    unreadable: str = ""


def page(view: Mapping[str, Any], past: Past, now: datetime) -> str:
    """Return the page for the view of `status --json`. `now` has a time zone."""
    style = "".join(file.read_text(encoding="utf-8") for file in (HISTORY_STYLE, STYLE))
    headline = text(summary.headline(view))
    parts = [
        f"{head()}<title>{headline} · trayagent</title><style>{style}</style></head><body><main>",
        f"<h1>{headline}</h1>",
        f'<p class="moment">{_moment(view, now)}</p>',
        *_rejected(view),
        f'<p class="today">{text(today_line(past.events, past.outages, now))}</p>',
        *vpns_section(view, now),
        *hosts_section(view, now),
        *_outages(past),
        *_decisions(past.decisions, now),
        f"</main><footer><p>{_footer(view)}</p></footer></body></html>\n",
    ]
    return "\n".join(parts)


def _moment(view: Mapping[str, Any], now: datetime) -> str:
    agent = view["agent"]
    words = [_("As of {time}").format(time=clock(_rfc3339(now), now, exact=True))]
    if agent["paused"]:
        until = clock(agent["paused_until"], now)
        paused = (
            _("everything is paused until {time}") if until else _("everything is paused until you resume it")
        )
        words.append(paused.format(time=until))
    return text(" · ".join(words))


def _rejected(view: Mapping[str, Any]) -> Iterator[str]:
    if (error := summary.rejected(view)) is not None:
        yield f'<p class="alert"><strong>{text(_("The configuration has a mistake."))}</strong> {text(error)}</p>'


def _outages(past: Past) -> Iterator[str]:
    days = (past.period.until - past.period.since).days
    title = ngettext("Outages of the last day", "Outages of the last {count} days", days).format(count=days)
    yield f"<h2>{text(title)}</h2>"
    if past.unreadable:
        yield f"<p>{text(past.unreadable)}</p>"
    elif past.outages:
        yield from report(past.sightings, past.outages, past.period, lasted, level=3)
    else:
        yield f"<p>{text(_('No connection was lost, or no agent was running.'))}</p>"


def _decisions(decisions: Sequence[Decision], now: datetime) -> Iterator[str]:
    if not decisions:
        return
    yield f"<h2>{text(_('Recent decisions'))}</h2>"
    lines = (
        f"<li><time>{text(clock(d.at, now, exact=True))}</time> <bdi>{text(d.host)}</bdi>: {text(d.meaning)}</li>"
        for d in reversed(decisions)
    )
    yield f'<ol class="decisions">{"".join(lines)}</ol>'
    more = text(_("{command} prints more of them, with the evidence."))
    yield f"<p>{more.format(command='<code>trayagent why HOST</code>')}</p>"


def _footer(view: Mapping[str, Any]) -> str:
    version = text(view["agent"]["version"])
    words = text(_("This page shows one moment. To make a new one, type {command}."))
    return f"trayagent {version}. {words.format(command=f'<code>{REFRESH}</code>')}"


def _rfc3339(at: datetime) -> str:
    return at.isoformat()
