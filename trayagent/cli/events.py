"""Implement `events`: print one line per event until interrupted."""

from __future__ import annotations

import argparse
import json

from trayagent.cli.output import follow, print_line
from trayagent.presentation.text import clean

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

# Keys that are not printed as KEY=VALUE: three have columns, and the reason contains the pairs.
STANDING = frozenset({"at", "event", "host", "pairs"})


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "events",
        help="print events as they happen",
        description="Prints one line per event, as it happens, until interrupted.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(carry_out=events)


def events(args: argparse.Namespace) -> int:
    """Print events until the user interrupts the command or the agent ends."""
    for event in follow("events"):
        print_line(json.dumps(event) if args.json else in_words(event))
    return 0


def in_words(event: dict[str, Any]) -> str:
    """Return an event as one short line: time, host, event, and its other keys."""
    from trayagent.presentation import times

    at = times.clock(event["at"], times.now(), exact=True)
    words = [text for key, value in event.items() if key not in STANDING and (text := _word(key, value))]
    line = f"{at}  {event['host'] or '-':<12}  {event['event']:<18}  {'  '.join(words)}"
    return clean(line).rstrip()


def _word(key: str, value: Any) -> str:
    """Return the text for one key, "" for a key without a value."""
    if value in (None, "", {}, []):
        return ""
    if key == "reason":
        return str(value)
    if key == "took_ms" and isinstance(value, (int, float)):
        return f"took {value:.0f} ms"
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in value.items() if not isinstance(v, (dict, list)))
    return f"{key}={value}"
