"""The words that start a module of this very program."""

from __future__ import annotations

import sys


def own_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module, "trayagent" for the whole program; in whatever folder it starts."""
    # -P: a folder of this name where it starts, a clone or an unpacked archive, is not this program.
    return [sys.executable, "-P", "-m", name, *arguments]
