"""Opens the user's terminal emulator with a command running in it, never through a shell.

The order is: $TERMINAL, the desktop's choice (the proposed xdg-terminal-exec, Debian's x-terminal-emulator), then the
usual terminals. Each takes the command as a list of words; the options are from its manual. Terminals that only take a
shell's command line (tilix, lxterminal) are left out.
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

# Each program with its options before the words, in the order in which they are tried.
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
    """Yield a command line for each terminal on PATH, the best first. It opens the terminal and runs `words`.

    Raises ValueError if a terminal could take one of the words for its own option.
    """
    if not words or words[0].startswith("-"):
        raise ValueError(f"no program to run in a terminal: {words!r}")
    first: list[str] = []
    for chosen in _candidates(env):
        program = shutil.which(chosen[0], path=env.get("PATH", os.defpath))
        if program is None:
            continue
        line = [program, *chosen[1:], *BEFORE_WORDS.get(Path(program).name, AS_XTERM), *words]
        if line != first:  # otherwise it would be tried twice: $TERMINAL is usually one of the known ones
            first = first or line
            yield line


async def open_terminal(
    words: Sequence[str], env: Mapping[str, str] = os.environ, at_once_s: float = AT_ONCE_S
) -> str:
    """Open a terminal that runs `words`, and return the terminal's path. The terminal may outlive this process.

    `env` has the variables for the display and $TERMINAL. Raises TrayagentError if no terminal could be opened.
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
    """Yield the programs to try, each with its options. $TERMINAL may contain options."""
    try:
        chosen = shlex.split(env.get("TERMINAL", ""))
    except ValueError:  # $TERMINAL has an unclosed quote
        chosen = []
    if chosen:
        yield chosen
    yield from ([name] for name in BEFORE_WORDS)


async def _start(line: Sequence[str], env: Mapping[str, str], at_once_s: float) -> str | None:
    """Start the terminal. Return None if it runs, or else the reason why it does not."""
    try:
        code = await start(line, env, at_once_s)
    except OSError as error:
        return error.strerror or str(error)
    # Some terminals only pass the request to a running instance, and exit with status 0.
    return f"it ended with status {code}" if code and not _ran(line[0], code) else None


def _ran(program: str, code: int) -> bool:
    """Report whether this exit status is the command's and not the terminal's. Source: foot(1), EXIT STATUS."""
    return Path(program).name == "foot" and code != FOOT_FAILED


def _no_terminal(env: Mapping[str, str], failed: Sequence[str]) -> TrayagentError:
    if failed:
        hint = f"Tried {'; '.join(failed)}. Set TERMINAL to one that works here."
        return TrayagentError("No terminal could be opened.", code="no-terminal", hint=hint)
    named = env.get("TERMINAL")
    title = "No terminal emulator was found" + (f" ($TERMINAL is {named})." if named else ".")
    hint = "Install one, for example xterm, or set TERMINAL to yours."
    return TrayagentError(title, code="no-terminal", hint=hint)
