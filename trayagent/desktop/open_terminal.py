"""Opens the user's terminal emulator with a command running in it, never through a shell.

The order is: $TERMINAL, the desktop's choice (the proposed xdg-terminal-exec, Debian's x-terminal-emulator), then
the usual ones. The manual of each says how it takes a list of words. Terminals that only take a shell's line (tilix,
lxterminal) are left out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trayagent.desktop.detached_programs import AT_ONCE_S, start
from trayagent.errors import TrayagentError

# The options between the program and the words, in the order in which the programs are tried.
BEFORE_WORDS: Mapping[str, tuple[str, ...]] = {
    "xdg-terminal-exec": (),
    "x-terminal-emulator": ("-e",),  # Debian Policy 11.8.3: everything that follows is the command
    "gnome-terminal": ("--",),
    "ptyxis": ("--",),
    "kgx": ("--",),
    "konsole": ("-e",),
    "xfce4-terminal": ("-x",),
    "mate-terminal": ("-x",),
    "qterminal": ("-e",),
    "terminator": ("-x",),
    "alacritty": ("-e",),
    "kitty": ("--",),
    "foot": (),
    "ghostty": ("-e",),
    "wezterm": ("start", "--"),
    "urxvt": ("-e",),
    "st": ("-e",),
    "xterm": ("-e",),
}
FOOT_FAILED = 230
AS_XTERM = ("-e",)
"""The option for an unknown $TERMINAL. Most terminals that replaced xterm understand it."""


def command_lines(words: Sequence[str], env: Mapping[str, str] = os.environ) -> Iterator[list[str]]:
    """Yield the command lines that open a terminal running `words`: those that exist on PATH, the best first.

    Raises ValueError for words that a terminal could take for its own option.
    """
    if not words or words[0].startswith("-"):
        raise ValueError(f"no program to run in a terminal: {words!r}")
    first: list[str] = []
    for chosen in _candidates(env):
        program = shutil.which(chosen[0], path=env.get("PATH", os.defpath))
        if program is None:
            continue
        line = [program, *chosen[1:], *BEFORE_WORDS.get(Path(program).name, AS_XTERM), *words]
        if line != first:  # $TERMINAL is usually one of the known ones, and would be tried twice
            first = first or line
            yield line


async def open_terminal(
    words: Sequence[str], env: Mapping[str, str] = os.environ, at_once_s: float = AT_ONCE_S
) -> str:
    """Open a terminal that runs `words`, and return the terminal's path. The terminal outlives this process.

    `env` names the display and the terminal. Raises TrayagentError if none could be opened.
    """
    failed: list[str] = []
    for line in _lines(words, env):
        why = await _start(line, env, at_once_s)
        if why is None:
            return line[0]
        failed.append(f"{Path(line[0]).name}: {why}")
    raise _no_terminal(env, failed)


def _lines(words: Sequence[str], env: Mapping[str, str]) -> Iterator[list[str]]:
    if sys.platform == "darwin":
        from trayagent.desktop import macos_terminal

        return macos_terminal.command_lines(words, env)
    return command_lines(words, env)


def _candidates(env: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield programs with their options; $TERMINAL may contain options."""
    try:
        chosen = shlex.split(env.get("TERMINAL", ""))
    except ValueError:  # $TERMINAL has an unclosed quote
        chosen = []
    if chosen:
        yield chosen
    yield from ([name] for name in BEFORE_WORDS)


async def _start(line: Sequence[str], env: Mapping[str, str], at_once_s: float) -> str | None:
    """Start the terminal. Return None if it runs, or else why it does not."""
    try:
        code = await start(line, env, at_once_s)
    except OSError as error:
        return error.strerror or str(error)
    # Some terminals only pass the request to a running instance, and end with 0.
    return f"it ended with status {code}" if code and not _ran(line[0], code) else None


def _ran(program: str, code: int) -> bool:
    """Report whether the status is that of the command and not of the terminal: foot(1), EXIT STATUS."""
    return Path(program).name == "foot" and code != FOOT_FAILED


def _no_terminal(env: Mapping[str, str], failed: Sequence[str]) -> TrayagentError:
    if failed:
        hint = f"Tried {'; '.join(failed)}. Set TERMINAL to one that works here."
        return TrayagentError("No terminal could be opened.", code="no-terminal", hint=hint)
    named = env.get("TERMINAL")
    title = "No terminal emulator was found" + (f" ($TERMINAL is {named})." if named else ".")
    hint = "Install one, for example xterm, or set TERMINAL to yours."
    return TrayagentError(title, code="no-terminal", hint=hint)
