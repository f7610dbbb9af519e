"""Implement `status`: print the view for users, as JSON, once or at each change, or as OpenMetrics."""

from __future__ import annotations

import argparse
import json

from trayagent.cli.output import follow, print_line, request
from trayagent.ipc.errors import AgentSilent, BadRequest, NoAgent

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "status",
        help="show what is connected",
        description="Shows the network, the hosts, their forwards and what is wrong.",
        epilog="For node_exporter's textfile collector: "
        "trayagent status --prometheus > DIR/trayagent.tmp; mv DIR/trayagent.tmp DIR/trayagent.prom",
    )
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="default: all hosts")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object (with --watch: one per line)")
    form.add_argument(
        "--prometheus",
        action="store_true",
        help="OpenMetrics text; without an agent, it prints trayagent_up 0 and exits with 3",
    )
    form.add_argument(
        "--html", metavar="FILE", help="write one self-contained page, also about the last 7 days"
    )
    parser.add_argument(
        "--watch", action="store_true", help="show the status again at each change, until you interrupt it"
    )
    parser.set_defaults(carry_out=status)


def status(args: argparse.Namespace) -> int:
    """Print the view. Import rich only for output that users read, because that takes time."""
    if args.html is not None:
        return _page(args)
    if args.prometheus:
        return _prometheus(args)
    if args.json and args.watch:
        for view in follow("watch", hosts=args.hosts):
            print_line(json.dumps(view))
    elif args.json:
        print_line(json.dumps(request("status", hosts=args.hosts), indent=2))
    elif args.watch:
        from trayagent.cli.watch_view import watch

        watch(follow("watch", hosts=args.hosts))
    else:
        from trayagent.cli.print_view import show

        show(request("status", hosts=args.hosts))
    return 0


def _page(args: argparse.Namespace) -> int:
    if args.watch:
        hint = "Write it again when you need it: trayagent status --html FILE"
        raise BadRequest("--html and --watch exclude each other.", hint=hint)
    from trayagent.cli.status_html import write_status_page

    return write_status_page(args)


def _prometheus(args: argparse.Namespace) -> int:
    """Print OpenMetrics even without an agent, because a monitor must see that no agent is running."""
    from trayagent.cli import openmetrics

    if args.watch:
        hint = "Run it from a timer: trayagent status --prometheus"
        raise BadRequest("--prometheus and --watch exclude each other.", hint=hint)
    try:
        view = request("status", hosts=args.hosts)
    except (NoAgent, AgentSilent):
        print_line(openmetrics.without_agent().rstrip("\n"))
        raise
    print_line(openmetrics.text(view).rstrip("\n"))
    return 0
