"""Implement `history`: list outages and recoveries; reads the file, and needs no agent."""

from __future__ import annotations

import argparse
import json

from trayagent.cli.output import print_line
from trayagent.cli.parse_duration import duration
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, ngettext

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from trayagent.history.outages import Outage, Sighting

SCHEMA = 1
WEEK_S = 7 * 86400


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "history",
        help="list outages and recoveries",
        description="Lists outages and recoveries with their durations. It needs no agent.",
    )
    parser.add_argument("host", nargs="?", metavar="HOST", help="default: all hosts")
    parser.add_argument(
        "--since",
        dest="since_s",
        type=duration,
        default=WEEK_S,
        metavar="TIME",
        help="how far back, such as 12h or 30d (default: 7d)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--html", metavar="FILE", help="write one self-contained page with charts")
    parser.set_defaults(carry_out=history)


def history(args: argparse.Namespace) -> int:
    """Print the outages, for users or as JSON, or write them as a page."""
    import gc

    gc.disable()  # with 200,000 events, the collections take most of the time
    try:
        return _history(args)
    finally:
        gc.enable()


def _history(args: argparse.Namespace) -> int:
    from trayagent.config import file_paths
    from trayagent.history.outages import outages, sightings
    from trayagent.history.record_events import History
    from trayagent.presentation import times

    since = times.before(args.since_s)
    # An outage may have begun before the requested time, so read all events and drop the outages that ended
    # before.
    where = file_paths.find(args.config)
    store = History(where.history_db)
    events = store.events()
    if args.host is not None:
        everything = events
        events = [e for e in events if e.get("host") in {None, args.host}]  # None: events about the network
        if args.host not in sightings(events):
            _check_known(args.host, sightings(everything), where.config_file)
    found = [o for o in outages(events) if o.ended is None or times.read(o.ended) >= since]
    if args.json:
        shown = [outage.as_json() for outage in found]
        print_line(json.dumps({"schema": SCHEMA, "since": times.rfc3339(since), "outages": shown}, indent=2))
    elif args.html is not None:
        _write_page(args.html, sightings(events), found, since)
    else:
        _print_table(found, args.since_s, times.now())
    return 0


def _check_known(name: str, seen: Iterable[str], config: Path) -> None:
    """Raise TrayagentError if the host is in neither the history nor the configuration. Suggest the nearest name."""
    from difflib import get_close_matches

    from trayagent.config.load_file import load
    from trayagent.errors import TrayagentError

    known = {*seen, *load(config).hosts}
    if name in known:
        return
    close = get_close_matches(name, sorted(known), 1)
    hint = f"Did you mean {close[0]}?" if close else "`trayagent status` lists all hosts."
    title = f"No host {name!r} is known to the history or the configuration."
    raise TrayagentError(title, code="unknown-host", hint=hint)


def _print_table(found: list[Outage], since_s: int, now: datetime) -> None:
    from trayagent.presentation import times

    if not found:
        print_line(_("No outage in the last {time}.").format(time=times.lasted(since_s)))
        return
    from rich.text import Text

    from trayagent.cli import console as people

    rows = []
    for o in found:
        lasted = (
            times.lasted(o.duration_ms / 1000)
            if o.duration_ms is not None
            else _("{duration}, still").format(duration=times.ago(o.began, now))
        )
        network = _network_words(o, now)
        took = (
            _("back in {time}").format(time=times.lasted(o.took_ms / 1000)) if o.took_ms is not None else ""
        )
        if took and o.sessions_kept:
            kept = ngettext(
                "{recovery}, {count} session kept", "{recovery}, {count} sessions kept", o.sessions_kept
            )
            took = kept.format(recovery=took, count=o.sessions_kept)
        rows.append(
            (times.clock(o.began, now, exact=True), o.host, lasted, network, took, agent_text(o.words))
        )
    people.print_table(rows)
    took_ms = sorted(o.took_ms for o in found if o.took_ms is not None)
    count = ngettext("{count} outage in the last {time}.", "{count} outages in the last {time}.", len(found))
    sentences = [count.format(count=len(found), time=times.lasted(since_s))]
    longest_ms = max(o.no_network_ms for o in found)
    if longest_ms:
        words = _("There was no network for up to {time}.")
        sentences.append(words.format(time=times.lasted(longest_ms / 1000)))
    if took_ms:
        median = (took_ms[(len(took_ms) - 1) // 2] + took_ms[len(took_ms) // 2]) / 2
        words = _("The median recovery took {median}, the slowest {slowest}.")
        slowest = times.lasted(took_ms[-1] / 1000)
        sentences.append(words.format(median=times.lasted(median / 1000), slowest=slowest))
    print_line("")
    people.print_hanging([(Text(), Text(" ".join(sentences)))])


def _network_words(outage: Outage, now: datetime) -> str:
    """Return for example "no network for 20 s": the part of an outage that no agent can shorten."""
    from trayagent.presentation import times

    if outage.no_network_since is not None:
        return _("no network since {time}").format(time=times.clock(outage.no_network_since, now, exact=True))
    if not outage.no_network_ms:
        return ""
    return _("no network for {time}").format(time=times.lasted(outage.no_network_ms / 1000))


def _write_page(name: str, hosts: dict[str, Sighting], found: list[Outage], since: datetime) -> None:
    from trayagent.cli.write_html_file import write_page
    from trayagent.history.charts import Period
    from trayagent.history.history_page import page
    from trayagent.presentation import times

    text = page(hosts, found, Period(since, times.now()), times.lasted)
    file = write_page(name, text, "~/outages.html")
    words = ngettext(
        "Written: {file}, with {count} outage.", "Written: {file}, with {count} outages.", len(found)
    )
    print_line(words.format(file=clean(str(file)), count=len(found)))
