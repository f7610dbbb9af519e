"""Implement `install` and `uninstall`: turn the agent's start at login on and off."""

from __future__ import annotations

import argparse

from trayagent.cli.output import print_line
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    on = commands.add_parser(
        "install",
        help="start the agent at login",
        description="Starts the agent at each login, with a systemd user unit. On a system without systemd, it uses "
        "an entry in the desktop's autostart directory; on macOS, a LaunchAgent. You can repeat the command.",
    )
    on.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="the agent reads this configuration file"
    )
    on.add_argument(
        "--refresh",
        action="store_true",
        help="only write again what an older version wrote, with the same command; turn nothing on",
    )
    on.set_defaults(carry_out=install)
    off = commands.add_parser(
        "uninstall",
        help="no longer start the agent at login",
        description="Removes what `install` wrote. A running agent and the masters continue; `stop --masters` ends "
        "the agent and the masters that it started.",
    )
    off.set_defaults(carry_out=uninstall)


def install(args: argparse.Namespace) -> int:
    """Start the agent at login; print what was written, and how to undo it."""
    from trayagent.config import file_paths
    from trayagent.desktop import autostart as login

    if args.refresh:
        renewed = ", ".join(clean(str(path)) for path in login.renew().paths)
        again = _("Written again: {files}").format(files=renewed)
        print_line(again if renewed else _("Nothing to write again."))
        return 0
    chosen = file_paths.unusual(file_paths.find(args.config).config_file)
    outcome = login.enable(login.own_command(chosen))
    written = ", ".join(clean(str(path)) for path in outcome.paths)
    starts = _("Starts at login: {files} (undo: trayagent uninstall)")
    if not outcome.changed:
        starts = _("Starts at login already: {files} (undo: trayagent uninstall)")
    print_line(starts.format(files=written))
    for note in outcome.notes:
        print_line(f"  {clean(agent_text(note))}")
    return 0


def uninstall(args: argparse.Namespace) -> int:  # noqa: ARG001  # each command receives its arguments
    """No longer start the agent at login."""
    from trayagent.desktop import autostart as login

    outcome = login.disable()
    removed = ", ".join(clean(str(path)) for path in outcome.paths)
    ended = _("No longer starts at login: removed {files}").format(files=removed)
    print_line(ended if removed else _("Nothing to remove: the agent does not start at login."))
    print_line(_("A running agent and its masters continue. To end both: trayagent stop --masters"))
    for note in outcome.notes:
        print_line(f"  {clean(agent_text(note))}")
    return 0
