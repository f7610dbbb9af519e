"""Configure argparse: in the user's language, and without shutil and _colorize, whose imports cost 4 and 10 ms."""

from __future__ import annotations

import argparse
import os
import sys

from trayagent.presentation.translation import _, agent_text

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any, NoReturn

DEFAULT_COLUMNS = 80
HEADINGS = ("usage: ", "positional arguments", "options", "error")
"""The words of argparse that have no other source."""
MISTAKES = (
    "the following arguments are required: {value}",
    "unrecognized arguments: {value}",
    "argument {name}: expected one argument",
    "argument {name}: expected at least one argument",
    "argument {name}: not allowed with argument {other}",
    "argument {name}: invalid choice: {value} (choose from {choices})",
)
"""What argparse says about a wrong command line."""


class _Formatter(argparse.HelpFormatter):
    """argparse's formatter with a fixed width. Without a width, argparse imports shutil.

    The parsers keep the English texts. They are translated only when the help is shown.

    From Python 3.14 on, argparse checks the arguments with a formatter, and imports _colorize for it. Here, only a
    formatter that prints does so.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)

    def _set_color(self, *arguments: Any, **options: Any) -> None:
        self._colour = arguments, options

    def __getattr__(self, name: str) -> Any:
        """Load the colours when argparse reads one of the two attributes for the first time."""
        if name not in {"_theme", "_decolor"}:
            raise AttributeError(name)
        arguments, options = self._colour
        super()._set_color(*arguments, **options)  # type: ignore[misc]
        return self.__dict__[name]

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """Add the usage, after a translated heading."""
        super().add_usage(usage, actions, groups, _("usage: ") if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        """Start a section with a translated heading."""
        super().start_section(heading and _(heading))

    def _format_text(self, text: str) -> str:
        return super()._format_text("\n".join(map(_, text.split("\n"))))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help and _(action.help)


class Parser(argparse.ArgumentParser):
    """The parser of a command. Always pass `prog`: argparse would need time to derive it from the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Formatter, "allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and exit with status 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {_('error')}: {agent_text(message)}\n")


def _columns() -> int:
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdigit() and int(chosen):
        return int(chosen)
    try:
        return os.get_terminal_size().columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS
