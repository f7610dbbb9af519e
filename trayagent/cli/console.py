"""Print for users: colours only on a terminal without NO_COLOR, ASCII signs without UTF-8."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.text import Text

from trayagent.cli import view_text
from trayagent.presentation import states
from trayagent.presentation.text import clean

WIDE = 160
"""The width in columns for a file or a pipe."""
NARROWEST = 24
"""The fewest columns in which a text is wrapped."""
READABLE = 100
"""The most columns for prose; longer lines are hard to read."""


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns as wide as needed; the last column is not padded.

    On a terminal the last column is wrapped. If it has little room there, the rows are prose instead of columns.
    """
    console = new_console()
    cells = [[Text(clean(cell)) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    heads = len(widths) - 1
    if console.is_terminal and console.width - sum(widths[:-1]) - 2 * heads < NARROWEST:
        heads = 1
        cells = [[first, Text("  ").join(cell for cell in rest if cell)] for first, *rest in cells]
    hanging = []
    for row in cells:
        for cell, width in zip(row[:heads], widths, strict=False):
            cell.pad_right(width - cell.cell_len + 2)
        hanging.append((Text().join(row[:heads]), row[heads]))
    print_hanging(hanging)


def print_hanging(lines: Iterable[tuple[Text, Text]]) -> None:
    """Print lines, each a head and a text. On a terminal the text is wrapped beside its head."""
    console = new_console()
    for head, text in lines:
        parts: Iterable[Text] = [text]
        if console.is_terminal:
            parts = text.wrap(console, max(console.width - head.cell_len, NARROWEST))
        for number, part in enumerate(parts):
            line = Text() + (Text(" " * head.cell_len) if number else head) + part
            line.rstrip()
            print_lines(console, [line])


def print_report(lines: Callable[[int, view_text.Signs], Iterable[Text]]) -> None:
    """Call `lines` with the width and the signs of the output, and print the lines that it returns."""
    console = new_console()
    width = min(console.width, READABLE)
    print_lines(console, lines(width, signs_of(console)))


def new_console() -> Console:
    """Return a console for stdout, as wide as the terminal."""
    # A terminal with another encoding must not turn a host's name into a traceback.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    elif console.is_dumb_terminal:
        console.size = shutil.get_terminal_size()  # rich assumes 80 columns
    return console


def signs_of(console: Console) -> view_text.Signs:
    """Return the signs that the output's encoding can express."""
    return states.SIGNS if console.encoding.startswith("utf") else states.PLAIN_SIGNS


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines without wrapping them."""
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
