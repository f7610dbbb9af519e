"""The history page has the right numbers, is self-contained, and escapes all data."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from trayagent.history.charts import MOST_BARS, Period, outages_by_day, recovery_times, timeline
from trayagent.history.history_page import MOST_ROWS, page
from trayagent.history.outages import Outage, Sighting
from trayagent.presentation.times import lasted

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
WEEK = Period(NOW - timedelta(days=7), NOW)
VOID = {"meta", "rect"}


def rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def outage(
    host: str, ago_s: float, lasted_s: float | None, took_ms: float | None = None, why: str = "x"
) -> Outage:
    began = NOW - timedelta(seconds=ago_s)
    ended = None if lasted_s is None else rfc3339(began + timedelta(seconds=lasted_s))
    return Outage(
        host, rfc3339(began), ended, None if lasted_s is None else lasted_s * 1e3, took_ms, why, words=why
    )


def known(*hosts: str) -> dict[str, Sighting]:
    """Return hosts that were connected before the week began."""
    return dict.fromkeys(hosts, Sighting("2025-12-01T00:00:00Z", "2025-12-01T00:00:00Z"))


class Reader(HTMLParser):
    """A reader of a page: its text and tags. It checks that each opened tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an opened element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost element ends."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an empty element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Collect the words outside of style."""
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Return all words."""
        return " ".join(" ".join(self.words).split())


def rects(svg: str, kind: str) -> list[dict[str, float]]:
    """Return the numbers of the shapes of a class."""
    shapes = re.findall(rf'<rect class="{kind}"([^>]*)>', svg)
    return [{k: float(v) for k, v in re.findall(r'(\w+)="([\d.]+)"', shape)} for shape in shapes]


def test_the_page_tells_each_host_and_each_outage() -> None:
    """The page lists the outages, their durations and the recovery times of each host."""
    found = [
        outage("web", 86400, 60, 412, "address=gone"),
        outage("web", 7200, 120, 1200),
        outage("db", 3600, None),
    ]
    reader = Reader(page(known("web", "db", "nas"), found, WEEK, lasted))
    assert "3 outages" in reader.text
    assert "806 ms the median recovery" in reader.text
    assert "1.2 s the slowest recovery" in reader.text
    assert "1 h the longest outage" in reader.text
    assert "web 2 3 min - 99.97% 806 ms" in reader.text
    assert "db 1 1 h - 99.40% -" in reader.text
    assert "nas 0 - - 100.00% -" in reader.text
    assert "1 h, still" in reader.text
    assert "1 min 412 ms address=gone" in reader.text


def test_the_page_is_self_contained() -> None:
    """The page has no script and loads no file, and its policy forbids both."""
    text = page(known("web"), [outage("web", 3600, 60, 400)], WEEK, lasted)
    tags = {tag for tag, _ in Reader(text).tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.search(r"https?:|//|@import|url\(|\bon\w+=", text.replace("<!DOCTYPE", ""))
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_nothing_in_the_data_is_markup() -> None:
    """A host's name and a reason are escaped, because other programs supply them."""
    bad = "</title><script>alert(1)</script>\"'&\x1b[2J\udcff"
    text = page(known(bad), [outage(bad, 3600, 60, 400, bad)], WEEK, lasted)
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "<script>alert(1)</script>" in reader.text
    assert "\x1b" not in text
    text.encode()


def test_an_outage_lies_where_it_was() -> None:
    """Outages are placed in per cent of the period.

    One that began earlier is cut, and the shortest one is still visible.
    """
    half = outage("web", 3.5 * 86400, 1.75 * 86400)
    early = outage("web", 8 * 86400, 2 * 86400)
    short, last = outage("web", 86400, 0.1), outage("web", 1, None)
    shapes = rects(timeline(known("web"), [early, half, short, last], WEEK, lasted), "gap")
    assert [(round(s["x"], 1), round(s["width"], 1)) for s in shapes[:2]] == [(0, 14.3), (50, 25)]
    assert all(s["width"] > 0.1 and s["x"] + s["width"] <= 100 for s in shapes)
    assert WEEK.seconds_of(early) == 86400


def test_a_host_is_there_only_since_it_was_first_connected() -> None:
    """The time before a host's first connection does not count.

    A host that was never connected has no available time.
    """
    hour = NOW - timedelta(hours=1)
    new = Sighting(rfc3339(hour - timedelta(hours=3)), rfc3339(hour))
    found = [outage("new", 1800, 900, 400), outage("never", 600, None)]
    text = page({"new": new, "never": Sighting(rfc3339(hour), None)}, found, WEEK, lasted)
    assert "new 1 15 min - 18.75% 400 ms" in Reader(text).text
    assert "never 1 10 min - never -" in Reader(text).text
    (well,) = rects(text, "well")
    assert well["x"] == pytest.approx(100 * (1 - 1 / 168), abs=0.001)
    assert well["x"] + well["width"] == pytest.approx(100)


def test_recoveries_are_counted_by_how_long_they_took() -> None:
    """Recoveries are counted in classes of duration. A value on an edge counts for the longer class."""
    reader = Reader(recovery_times([0.1, 0.5, 0.9, 1.0, 400]))
    assert reader.text == "1 < 0.5 s 2 < 1 s 1 < 2 s < 5 s < 15 s < 1 min 1 more"
    heights = [bar["height"] for bar in rects(recovery_times([0.1, 0.5, 0.9]), "bar")]
    assert heights == [50, 100, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("days", "bars"), [(1, 2), (7, 8), (30, 31), (31, 5), (365, 31)])
def test_many_days_are_drawn_together(days: int, bars: int) -> None:
    """Many days are drawn in one bar each, so that the bars fit, and no outage is lost."""
    period = Period(NOW - timedelta(days=days), NOW)
    found = [outage("web", 3600 + number * 86400, 60) for number in range(days)]
    reader = Reader(outages_by_day(found, period))
    counts = [int(data) for data in reader.words if data.isdigit()]
    assert (len(rects(outages_by_day(found, period), "bar")), sum(counts)) == (bars, days)
    assert bars <= MOST_BARS


def test_a_page_of_nothing_says_so() -> None:
    """A page without outages says "No outage", even without any host."""
    assert "No outage of 2 hosts" in Reader(page(known("a", "b"), [], WEEK, lasted)).text
    assert "No outage" in Reader(page(known(), [], WEEK, lasted)).text


def test_a_long_history_makes_a_page_that_can_be_read() -> None:
    """The table of a long history is limited, and says so. The charts contain all outages."""
    found = [outage("web", 600_000 - number * 60, 30, 400) for number in range(MOST_ROWS + 100)]
    text = page(known("web"), found, WEEK, lasted)
    assert f"The last {MOST_ROWS} of {MOST_ROWS + 100} outages" in Reader(text).text
    assert len(rects(text, "gap")) == len(found)
    assert text.count("<tr>") == MOST_ROWS + 3


def test_the_time_without_a_network_is_separate_from_the_recovery() -> None:
    """The page says how long there was no network, in total and for each outage, and since when there is none."""
    gap = replace(outage("web", 3600, 60, 900), no_network_ms=20_000)
    going = replace(outage("web", 600, None), no_network_since=rfc3339(NOW - timedelta(seconds=600)))
    words = Reader(page(known("web"), [gap, going], WEEK, lasted)).text
    assert "20 s the longest time without a network" in words
    assert "1 min 20 s 900 ms x" in words
    assert "10 min, still since 2026-01-08 11:50 x" in words
    assert "web 2 11 min 20 s" in words
    assert "1 min, no network for 20 s: x" in words
