"""Configure argparse without shutil, whose import for the terminal's width costs 4 ms."""

from __future__ import annotations

import argparse
import os

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

DEFAULT_COLUMNS = 80


class _Formatter(argparse.HelpFormatter):
    """argparse's formatter with a fixed width. Without a width, argparse imports shutil."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


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
