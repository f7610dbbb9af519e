"""Implement `login`: connect a host that needs the user at the terminal."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "login",
        help="log in to a host at the terminal",
        description="Connects a host that asks for a password, a code, a passphrase or a new host key. ssh asks you "
        "in this terminal; trayagent neither reads nor stores what you type. The agent keeps the connection when "
        "you close the terminal. After a change of network the host waits for you again, unless it roams by "
        "its roam_port. Then a second login follows the first one, and may ask you again. Starts an agent if none is "
        "running.",
    )
    parser.add_argument("host", metavar="HOST", help="any name that ssh understands")
    parser.set_defaults(carry_out=login)


def login(args: argparse.Namespace) -> int:
    """Log in; return 130 after Ctrl-C."""
    from trayagent.attach.login import log_in
    from trayagent.cli.output import print_line
    from trayagent.presentation.text import clean

    return log_in(args.host, lambda text: print_line(clean(text)))
