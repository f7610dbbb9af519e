"""Returns the command line that starts a module of this program."""

from __future__ import annotations

import sys


def own_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module, "trayagent" for the whole program. It works in every working directory."""
    # -P: do not import a directory named trayagent in the working directory (a clone, an unpacked archive).
    return [sys.executable, "-P", "-m", name, *arguments]
