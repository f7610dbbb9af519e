"""`why`: the last decisions about a host, each with its evidence."""

from __future__ import annotations

import argparse

from trayagent.cli.out import ask, clean, say

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "why",
        help="the last decisions about a host",
        description="Prints the last decisions about a host, oldest first, each with its evidence.",
    )
    parser.add_argument("host", metavar="HOST")
    parser.set_defaults(carry_out=why)


def why(args: argparse.Namespace) -> int:
    """Print a line per decision: when, what was decided, and on what evidence."""
    from trayagent.cli import when

    decisions = ask("why", host=args.host)["decisions"]
    now = when.now()
    if not decisions:
        say(f"Nothing has been decided about {clean(args.host)} yet.")
    width = max((len(clean(d["verdict"])) for d in decisions), default=0)
    for decision in decisions:
        at, verdict = when.clock(decision["at"], now), clean(decision["verdict"])
        say(f"{at}  {verdict:<{width}}  {_words(decision['evidence'])}".rstrip())
    return 0


def _words(evidence: Any) -> str:
    """Return evidence as key=value words, however it was given."""
    if isinstance(evidence, dict):
        return clean(" ".join(f"{key}={value}" for key, value in evidence.items()))
    return clean(str(evidence))
