"""Implement `attach`: open a terminal in a session on a host, and attach again after every change of network."""

from __future__ import annotations

import argparse

from trayagent.cli.output import complain
from trayagent.errors import TrayagentError

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

FAILED = 255  # ssh(1), EXIT STATUS


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "attach",
        help="open a terminal that survives changes of network",
        description="Opens a terminal in the host's tmux or screen session NAME through the agent's connection, and "
        "attaches again after every change of network until you leave it. The setting `session` in [hosts.HOST] "
        "selects what runs there: tmux, screen, a command or a plain shell. After a reconnect, tmux and screen "
        "continue; a command or a shell starts again. If `session` is not set and you give NAME, tmux runs. While "
        "there is no connection, one line shows what attach waits for; type Ctrl-C or ~. to leave. The exit status is "
        "that of ssh, or 255 if attach itself failed. Starts an agent if none is running.",
    )
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the session's name (default: main)")
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="read this configuration file"
    )
    parser.set_defaults(carry_out=attach)


def attach(args: argparse.Namespace) -> int:
    """Attach until the user leaves the session; return the exit status of the session."""
    from trayagent.attach.attach import attach as stay

    try:
        return stay(args.host, args.name, args.config)
    except TrayagentError as error:
        complain(error)
        return int(getattr(error, "session_status", FAILED))
