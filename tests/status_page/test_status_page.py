"""The status page: it shows the view in sentences, without a script, and escapes all data."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.desktop.test_menu import forward, host, problem, view, vpn
from tests.history.test_history_page import Reader, known, outage
from trayagent.history.charts import Period
from trayagent.history.outages import Outage
from trayagent.status_page.today import today_line
from trayagent.status_page.whole_page import Decision, Past, page

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
WEEK = Period(NOW - timedelta(days=7), NOW)
GENEROUS_S = 3.0
"""Ten times the promised time, because other tests run on the machine."""


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the time zone to UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def changed(*minutes_ago: float) -> list[dict[str, Any]]:
    """Return `network-changed` events."""
    moments = (NOW - timedelta(minutes=minutes) for minutes in minutes_ago)
    return [{"at": at.isoformat().replace("+00:00", "Z"), "event": "network-changed"} for at in moments]


def past(*outages: Outage, decisions: tuple[Decision, ...] = (), **more: Any) -> Past:
    """Return the history of the hosts web and db."""
    return Past(more.pop("events", []), known("web", "db"), outages, WEEK, decisions, **more)


def test_the_page_tells_what_the_view_tells() -> None:
    """Each host has its state in words, its problem and a remedy. Hosts that need the user come first."""
    refused = problem("auth-denied", "db refuses every key", "Log in: trayagent login db")
    given = view(
        host("web", since=None, forwards=[forward("dynamic", "1080")]),
        host("old", "idle", since=None),
        host("nas", "waiting", since=None, next_retry="2026-01-08T12:01:30Z"),
        host("db", "needs-sign-in", since=None, problem=refused),
        vpns=[vpn("corp", "down", "db")],
    )
    decisions = (
        Decision("2026-01-08T11:59:00Z", "web", "it is kept"),
        Decision("2026-01-08T11:59:30Z", "db", "wait"),
    )
    words = Reader(page(given, past(outage("web", 3600, 60, 900), decisions=decisions), NOW)).text
    assert words.startswith(
        "1 of 3 connected · wlan0 · trayagent 1 of 3 connected · wlan0 As of 12:00:00 Today: no change"
    )
    hosts = words[words.index("Hosts") :]
    assert hosts.index("db needs sign-in") < hosts.index("nas waiting") < hosts.index("web connected")
    assert "db refuses every key Log in: trayagent login db" in hosts
    assert "nas waiting, next try 12:01:30" in hosts
    assert "socks5h://localhost:1080 SOCKS 1080" in hosts
    assert "Not in use (1) – old idle" in hosts  # noqa: RUF001  # the sign of "idle"
    assert "corp down" in words
    assert "1 min 900 ms x" in words
    assert "Recent decisions 11:59:30 db : wait 11:59:00 web : it is kept" in words


def test_an_open_forward_is_a_link_and_a_failed_one_says_why() -> None:
    """Only a forward that is open on this machine and may lead to a web server is a link. Failed ones come first."""
    forwards = [
        forward("local", "8443:localhost:443"),
        forward("local", "9000:localhost:80", "closed"),
        forward("local", "/run/x.sock:localhost:80"),
        forward("remote", "22221:localhost:22", "failed", error="port 22221 is taken"),
        forward("local", "not a forward"),
    ]
    reader = Reader(page(view(host("web", forwards=forwards)), past(), NOW))
    assert [attrs["href"] for tag, attrs in reader.tags if tag == "a"] == ["https://localhost:8443"]
    assert (
        "A forward is not open. on the server: 22221 → localhost:22 failed : port 22221 is taken 8443"
        in reader.text
    )
    assert "9000 → localhost:80 closed" in reader.text
    assert "local not a forward" in reader.text


def test_the_page_is_self_contained_and_structured_for_a_screen_reader() -> None:
    """The page has no script and loads no file.

    It has one top heading, no missing level, and hides signs from screen readers.
    """
    text = page(view(host("web"), host("db", "failed")), past(outage("web", 3600, 60, 400)), NOW)
    reader = Reader(text)
    tags = [tag for tag, _ in reader.tags]
    assert not set(tags) & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.search(r"https?:|@import|url\(|\bon\w+=", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert tags.count("main") == 1
    assert all(attrs["aria-hidden"] == "true" for tag, attrs in reader.tags if attrs.get("class") == "sign")
    assert ("html", {"lang": "en"}) in reader.tags


def test_nothing_in_the_view_is_markup() -> None:
    """Names, problems, forwards and decisions are escaped, because servers and other programs supply them."""
    bad = "</title><script>alert(1)</script>\"'&\x1b[2J\udcff\u202e"
    given = view(
        host(
            bad,
            "failed",
            problem=problem(bad, bad, bad),
            forwards=[forward(bad, bad, bad, error={"title": bad})],
        ),
        vpns=[vpn(bad, bad, bad)],
        agent={"version": bad, "config_error": bad},
    )
    text = page(
        given,
        past(outage(bad, 3600, 60, 400, bad), decisions=(Decision(WEEK.since.isoformat(), bad, bad),)),
        NOW,
    )
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode()


@pytest.mark.parametrize(
    ("events", "outages", "line"),
    [
        ([], [], "Today: no change of network."),
        (changed(100, 99.9, 99.8, 5), [], "Today: 2 changes of network."),
        (changed(13 * 60, 5), [], "Today: 1 change of network."),
        (changed(5), [outage("web", 300, 1, 900)], "Today: 1 change of network, back in 900 ms."),
        (
            changed(50, 5),
            [outage("web", 3000, 1, 800), outage("web", 300, 2, 1200), outage("web", 86400, 2, 9000)],
            "Today: 2 changes of network, back in 1.0 s (the median of 2 recoveries).",
        ),
        (changed(5), [outage("web", 300, None)], "Today: 1 change of network."),
    ],
)
def test_the_day_in_one_line(events: list[dict[str, Any]], outages: list[Outage], line: str) -> None:
    """The line about today counts events that follow each other closely as one change. Yesterday does not count."""
    assert today_line(events, outages, NOW) == line


def test_a_history_that_cannot_be_read_costs_only_its_part() -> None:
    """If the history cannot be read, the page gives the reason, and still shows the hosts."""
    text = Reader(
        page(view(host("web")), past(unreadable="The history cannot be read: malformed."), NOW)
    ).text
    assert "The history cannot be read: malformed." in text
    assert "web connected" in text


def test_sixty_hosts_make_a_page_in_no_time() -> None:
    """Rendering sixty hosts takes only a small part of the 300 ms that are promised for the whole command."""
    forwards = [forward("local", "8080:localhost:80"), forward("remote", "2222:localhost:22")]
    given = view(*[host(f"web{n:02}", forwards=forwards) for n in range(60)])
    start = time.perf_counter()
    text = page(given, past(*[outage("web", 600 * n, 30, 400) for n in range(1, 500)]), NOW)
    assert time.perf_counter() - start < GENEROUS_S
    assert text.count("<h3>") == 60 + 4
