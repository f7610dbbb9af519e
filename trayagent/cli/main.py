"""Parse the command line, run the command, and return its exit status."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from trayagent import __version__
from trayagent.cli.fast_argparse import Parser
from trayagent.cli.output import complain
from trayagent.errors import TrayagentError
from trayagent.exit_statuses import FAILED, INTERRUPTED, NO_AGENT, PIPE_CLOSED

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order of the help. Each module has add(subparsers), and sets `carry_out`.
MODULES = {
    "run": "run",
    "status": "status",
    "reconnect": "reconnect_pause_stop",
    "disconnect": "reconnect_pause_stop",
    "login": "login",
    "pause": "reconnect_pause_stop",
    "resume": "reconnect_pause_stop",
    "why": "why",
    "events": "events",
    "history": "history",
    "attach": "attach",
    "keep": "keep",
    "init": "init",
    "doctor": "doctor",
    "install": "install",
    "uninstall": "install",
    "stop": "reconnect_pause_stop",
    "demo": "demo",
}
# Commands for programs; the help omits them.
HIDDEN = {"complete": "shell_completion"}


def parser(first: str | None = None) -> Parser:
    """Return the parser of the whole command line, or only of the command `first`."""
    whole = Parser(
        prog="trayagent",
        description="Keeps ssh masters and their forwards alive across changes of network.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 no agent is running, "
        "4 another agent is running.",
    )
    whole.add_argument("--version", action="version", version=f"trayagent {__version__}")
    whole.add_argument("--config", metavar="FILE", help="read this configuration file")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True, prog=whole.prog)
    one = MODULES.get(first or "") or HIDDEN.get(first or "")
    for module in dict.fromkeys([one] if one else MODULES.values()):
        import_module(f"trayagent.cli.{module}").add(commands)
    return whole


def entry(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status. Raise SystemExit only for --help and wrong usage."""
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        args = parser(words[0] if words else None).parse_args(words)
        code: int = args.carry_out(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except TrayagentError as error:
        complain(_with_start_command(error) if error.exit_status == NO_AGENT else error)
        return error.exit_status
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        complain(TrayagentError(f"{error.strerror or error}."))
        _silence_stdout()
        return FAILED
    return code


def _with_start_command(error: TrayagentError) -> TrayagentError:
    """Return the error with the command that starts the agent. `run` would start an agent outside its unit."""
    from trayagent.desktop.autostart import start_command
    from trayagent.ipc.errors import NoAgent

    command = start_command()
    return NoAgent(error.title, code=error.code, start=command) if command else error


def _silence_stdout() -> None:
    """Redirect stdout to /dev/null, so that the interpreter's last flush prints no error."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None  # as in a Python that starts without stdout
