"""`attach`: a terminal in a session on a host, re-attached after every change of network."""

from __future__ import annotations

import argparse

from trayagent.cli.out import complain
from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

FAILED = 255  # ssh(1), EXIT STATUS


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "attach",
        help="a terminal on a host that comes back by itself",
        description="Opens a terminal in the host's tmux or screen session NAME, through the connection that "
        "the agent looks after, and re-attaches it after every change of network until you leave it. "
        "[hosts.HOST] session says what runs there: tmux, screen, a command, or a plain shell, which is opened "
        "anew; with a NAME and nothing said, tmux. Meanwhile one line says what it waits for; "
        "Ctrl-C or ~. leaves. Ends with ssh's status, 255 for its own failures; starts an agent if none runs.",
    )
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the session's name (main)")
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="read this configuration file"
    )
    parser.set_defaults(carry_out=attach)


def attach(args: argparse.Namespace) -> int:
    """Stay attached; returns the status of the session that the person left."""
    from trayagent.attach.attach import attach as stay

    try:
        return stay(args.host, args.name, args.config)
    except TrayagentError as error:
        complain(error)
        return int(getattr(error, "session_status", FAILED))
