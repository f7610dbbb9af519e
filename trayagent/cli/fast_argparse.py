"""Configure argparse without shutil and _colorize, whose imports cost 4 and 10 ms."""

from __future__ import annotations

import argparse
import os

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

DEFAULT_COLUMNS = 80


class _Formatter(argparse.HelpFormatter):
    """argparse's formatter with a fixed width. Without a width, argparse imports shutil.

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


class Parser(argparse.ArgumentParser):
    """The parser of a command. Always pass `prog`: argparse would need time to derive it from the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Formatter, "allow_abbrev": False, **options})


def _columns() -> int:
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdigit() and int(chosen):
        return int(chosen)
    try:
        return os.get_terminal_size().columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS
