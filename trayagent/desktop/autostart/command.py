"""The command line that starts this program again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trayagent.own_module import own_module

PROGRAM = "trayagent"


def own_command(config: Path | None = None, argv0: str | None = None) -> tuple[str, ...]:
    """Return the command that runs the agent, with absolute paths. `config` is None for the default file.

    Keep links in the program's path (`argv0`): an update may point a link to the new version.
    """
    called = Path(sys.argv[0] if argv0 is None else argv0).absolute()
    if called.name == PROGRAM and called.is_file() and os.access(called, os.X_OK):
        program = [str(called)]
    else:
        program = own_module(PROGRAM)
    return (*program, "run", *(("--config", str(config.absolute())) if config is not None else ()))
