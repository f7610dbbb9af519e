"""`history`: outages and recoveries; reads the file, and needs no agent."""

from __future__ import annotations

import argparse
import json

from trayagent.cli.durations import duration
from trayagent.cli.out import say

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from trayagent.history.outages import Outage

SCHEMA = 1
WEEK_S = 7 * 86400


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "history",
        help="outages and recoveries",
        description="Prints outages and recoveries with their durations. Needs no agent.",
    )
    parser.add_argument("host", nargs="?", metavar="HOST", help="without it: all hosts")
    parser.add_argument(
        "--since",
        dest="since_s",
        type=duration,
        default=WEEK_S,
        metavar="TIME",
        help="default: 7d",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(carry_out=history)


def history(args: argparse.Namespace) -> int:
    """Print the outages, for people or as JSON."""
    from trayagent.cli import when
    from trayagent.config import places
    from trayagent.history.outages import outages
    from trayagent.history.store import History

    since = when.before(args.since_s)
    # An outage may have begun before the time that is asked for, so all are read and the ended ones left out.
    every = outages(History(places.find(args.config).history_db).events(args.host))
    found = [o for o in every if o.ended is None or when.read(o.ended) >= since]
    if args.json:
        shown = [outage.as_json() for outage in found]
        say(json.dumps({"schema": SCHEMA, "since": when.rfc3339(since), "outages": shown}, indent=2))
    else:
        _print_for_people(found, args.since_s, when.now())
    return 0


def _print_for_people(found: list[Outage], since_s: int, now: datetime) -> None:
    from trayagent.cli import people, when

    if not found:
        say(f"No outage in the last {when.lasted(since_s)}.")
        return
    rows = []
    for o in found:
        lasted = (
            when.lasted(o.duration_ms / 1000)
            if o.duration_ms is not None
            else f"{when.ago(o.began, now)}, still"
        )
        took = f"back in {when.lasted(o.took_ms / 1000)}" if o.took_ms is not None else ""
        rows.append((when.clock(o.began, now), o.host, lasted, took, o.reason))
    people.print_table(rows)
    took_ms = sorted(o.took_ms for o in found if o.took_ms is not None)
    summary = f"{len(found)} outage{'s' if len(found) != 1 else ''} in the last {when.lasted(since_s)}"
    if took_ms:
        middle, worst = took_ms[len(took_ms) // 2] / 1000, took_ms[-1] / 1000
        summary += f"; a recovery took {when.lasted(middle)} in the middle, {when.lasted(worst)} at worst"
    say(f"\n{summary}.")
