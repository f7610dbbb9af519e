"""Read the commands and options from the argparse parsers, for the completions and the manual page."""

from __future__ import annotations

import argparse
import re

from trayagent.cli import main

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_NUMBER = 1 << 16


class Argument:
    """One option (`flags` has its names) or one positional argument (`flags` is empty)."""

    def __init__(self, action: argparse.Action) -> None:
        self.flags: tuple[str, ...] = tuple(action.option_strings)
        self.help = _plain(action.help)
        self.choices: tuple[str, ...] = tuple(map(str, action.choices or ()))
        self.metavar = _metavar(action)
        self.nargs = action.nargs
        self.repeatable = action.nargs in {"*", "+", argparse.REMAINDER} or "Append" in type(action).__name__

    @property
    def most(self) -> int:
        """The largest number of words that the argument takes."""
        if isinstance(self.nargs, int):
            return self.nargs
        return ANY_NUMBER if self.repeatable and not self.flags else 1

    @property
    def optional(self) -> bool:
        """Whether a positional argument may be omitted."""
        return self.nargs in {"?", "*", argparse.REMAINDER}


class Command:
    """One command: its `help` is a few words, its `description` whole sentences."""

    def __init__(self, name: str, short: str, parser: argparse.ArgumentParser) -> None:
        self.name = name
        self.help = _plain(short)
        self.description = _plain(parser.description)
        self.epilog = parser.epilog or ""
        found = [Argument(action) for action in _actions(parser)]
        self.options = [argument for argument in found if argument.flags]
        self.positionals = [argument for argument in found if not argument.flags]


def command(name: str) -> Command | None:
    """Return the command with a name, or None. Only the command's own module is imported."""
    return next((found for found in _commands(name) if found.name == name), None) if name in NAMES else None


def commands() -> list[Command]:
    """Return all commands in the order of the help."""
    return list(_commands(None))


def global_options() -> list[Argument]:
    """Return the options that precede a command."""
    return [Argument(action) for action in _actions(main.parser("run")) if action.option_strings]


NAMES = tuple(main.MODULES)


def _commands(first: str | None) -> Iterator[Command]:
    for action in _actions(main.parser(first)):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # argparse offers no public access
            shorts = {entry.dest: entry.help or "" for entry in action._choices_actions}  # noqa: SLF001
            for name in NAMES:
                if name in action.choices:
                    yield Command(name, shorts.get(name, ""), action.choices[name])


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001  # argparse offers no public access


def _metavar(action: argparse.Action) -> str:
    """Return the placeholder of an argument's value, "" for an option without a value."""
    if action.option_strings and action.nargs == 0:
        return ""
    shown = action.metavar if isinstance(action.metavar, str) else None
    return shown or (action.dest.upper() if action.option_strings else action.dest)


def _plain(text: str | None) -> str:
    """Return a text of argparse without format codes."""
    if not text or text == argparse.SUPPRESS:
        return ""
    return re.sub(r"\s+", " ", text.replace("%%", "%")).strip()
