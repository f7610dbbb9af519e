"""Implement `run`: run the agent in the foreground."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "run",
        help="run the agent in the foreground",
        description="Runs the agent until you stop it. The masters continue, and the next agent adopts them.",
    )
    parser.add_argument("--no-tray", action="store_true", help="show no tray icon, even with a display")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print every log line at a terminal, not only what needs you",
    )
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="read this configuration file"
    )
    parser.set_defaults(carry_out=run)


def run(args: argparse.Namespace) -> int:
    """Run the agent; return its exit status when it ends."""
    from trayagent.agent.main import run as run_agent
    from trayagent.cli.output import complain
    from trayagent.config import file_paths
    from trayagent.errors import TrayagentError

    found = file_paths.find(args.config)
    if args.config and not _may_be_there(found.config_file):
        hint = "The agent runs without a configuration, and reads this file when it appears."
        complain(TrayagentError(f"There is no {found.config_file}", hint=hint))
    return run_agent(found, found.config_file, not args.no_tray, args.verbose)


def _may_be_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        return True  # `load` reports this error
