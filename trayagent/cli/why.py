"""Implement `why`: print the last decisions about a host, each with its evidence."""

from __future__ import annotations

import argparse

from trayagent.cli.output import print_line, request
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "why",
        help="explain the last decisions about a host",
        description="Prints the last decisions about a host, oldest first. Each line has a sentence, and the evidence "
        "as in the log.",
    )
    parser.add_argument("host", metavar="HOST")
    parser.set_defaults(carry_out=why)


def why(args: argparse.Namespace) -> int:
    """Print a line for each decision: time, meaning, and the evidence as in the log."""
    from trayagent.cli.why_sentences import sentence
    from trayagent.cli.why_turns import combined
    from trayagent.presentation import times

    answer = request("why", host=args.host)
    decisions = answer["decisions"]
    if answer["host"] != args.host:
        shared = _("{alias} uses the connection of {host}.")
        print_line(shared.format(alias=clean(args.host), host=clean(answer["host"])))
    if not decisions:
        print_line(_("The agent has not decided anything about {host} yet.").format(host=clean(args.host)))
    from rich.text import Text

    from trayagent.cli.console import print_hanging
    from trayagent.presentation.beside import beside_hints, beside_lines
    from trayagent.presentation.standby import no_standby_lines, standby_lines

    now, lines = times.now(), []
    for decision in combined(decisions):
        verdict, evidence = clean(decision["verdict"]), clean(decision["evidence"])
        line = Text()
        pairs = decision.get("pairs")  # an older agent reports only the text
        meaning = decision.get("sentence")
        if meaning is None and pairs is not None:
            meaning = sentence(decision["row"], verdict, pairs)
        line.append(f"{meaning}  " if meaning else "")
        line.append(f"{verdict}  {evidence}".rstrip(), style="dim")
        lines.append((Text(f"{times.clock(decision['at'], now, exact=True)}  "), line))
    print_hanging(lines)
    standby = (*standby_lines(answer), *no_standby_lines(answer))
    for words in (*standby, *beside_lines(answer), *beside_hints(answer)):  # an older agent reports none
        print_line(words)
    return 0
