"""Returns the command line that starts a module of this program."""

from __future__ import annotations

import sys


def own_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module, "trayagent" for the whole program. It works in every folder."""
    # -P: a folder named trayagent in the current folder (a clone, an unpacked archive) must not be imported.
    return [sys.executable, "-P", "-m", name, *arguments]
