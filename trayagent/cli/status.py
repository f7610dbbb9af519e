"""`status`: the whole view, for people or as JSON, once or at each change."""

from __future__ import annotations

import argparse
import json

from trayagent.cli.out import ask, follow, say

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "status",
        help="what is connected",
        description="Shows the network, the hosts, their forwards and what is wrong with them.",
    )
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="without any: all hosts")
    parser.add_argument("--json", action="store_true", help="one JSON object (with --watch: one per line)")
    parser.add_argument(
        "--watch", action="store_true", help="show it again at each change, until interrupted"
    )
    parser.set_defaults(carry_out=status)


def status(args: argparse.Namespace) -> int:
    """Print the view; rich is imported only where people read."""
    if args.json and args.watch:
        for view in follow("watch", hosts=args.hosts):
            say(json.dumps(view))
    elif args.json:
        say(json.dumps(ask("status", hosts=args.hosts), indent=2))
    elif args.watch:
        from trayagent.cli import people

        people.repaint(follow("watch", hosts=args.hosts))
    else:
        from trayagent.cli import people

        people.show(ask("status", hosts=args.hosts))
    return 0
