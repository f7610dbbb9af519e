"""Opens a terminal that runs a command on a Mac, by osascript(1): iTerm if it is installed, else Terminal.

Both programs type the line into the user's shell. So the words are quoted for a shell first, then for AppleScript.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trayagent.desktop.macos_applescript import osascript, quoted

_ITERM = (Path("/Applications/iTerm.app"), Path("~/Applications/iTerm.app"))
_OURS = "TRAYAGENT_"


def command_lines(words: Sequence[str], env: Mapping[str, str] = os.environ) -> Iterator[list[str]]:
    """Yield the command lines that open a terminal running `words`, the best first.

    The terminal's shell does not inherit the agent's environment. So the line sets the TRAYAGENT_ variables, which
    contain the paths of the agent's files. Raises ValueError for words that `exec` would take for an option.
    """
    if not words or words[0].startswith("-"):
        raise ValueError(f"no program to run in a terminal: {words!r}")
    ours = [f"{name}={value}" for name, value in sorted(env.items()) if name.startswith(_OURS)]
    line = quoted("exec " + shlex.join([*(["env", *ours] if ours else []), *words]))
    if any(place.expanduser().is_dir() for place in _ITERM):
        yield osascript(
            [
                'tell application "iTerm"',
                "activate",
                "set shown to (create window with default profile)",
                f"tell current session of shown to write text {line}",
                "end tell",
            ]
        )
    yield osascript(['tell application "Terminal"', "activate", f"do script {line}", "end tell"])
