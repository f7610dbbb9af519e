"""Find the shell script that runs a program, and that may start it again once it ends."""

from __future__ import annotations

import textwrap
from pathlib import PurePath

from trayagent.ssh.os.process import Process, descendants, read

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish"))
_LONGEST = 60


def script_around(process: Process) -> Process | None:
    """Return the shell that runs only this program at the moment, from a file or from `-c`; None if there is none.

    Such a script may be a loop that starts the program again. A shell in a terminal is not returned. Neither is a
    script with other children, such as one that started the desktop.
    """
    parent = read(process.ppid)
    if parent is None or parent.uid != process.uid or not _runs_a_script(parent.argv):
        return None
    children = [one.pid for one in descendants(parent.pid) if one.ppid == parent.pid]
    return parent if children == [process.pid] else None


def spoken(script: Process) -> str:
    """Return the command line of a script for the user, in one short line."""
    return textwrap.shorten(" ".join(script.argv), _LONGEST, placeholder=" …")


def _runs_a_script(argv: tuple[str, ...]) -> bool:
    if not argv or PurePath(argv[0]).name not in _SHELLS:
        return False
    options = [word for word in argv[1:] if word.startswith("-")]
    interactive = any(word in {"-i", "--rcfile", "--init-file"} for word in options)
    return not interactive and len(options) < len(argv) - 1
