"""Print for users: colours only on a terminal without NO_COLOR, ASCII signs without UTF-8."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from trayagent.cli import view_text
from trayagent.presentation import states, times
from trayagent.presentation.text import clean

WIDE = 160
"""The columns of a file or a pipe."""
READABLE = 100
"""The columns of prose; longer lines are hard to read."""


def show(view: dict[str, Any]) -> None:
    """Print the view once."""
    console = _console()
    _print(console, _render(console, view, watching=False))


def repaint(views: Iterator[dict[str, Any]]) -> None:
    """Paint each view over the previous view.

    Without a terminal, or on one without control sequences (TERM=dumb), print one view after the other.
    """
    from rich.live import Live

    console = _console()
    if not console.is_terminal or console.is_dumb_terminal:
        for view in views:
            _print(console, [*_render(console, view, watching=True), Text()])
            sys.stdout.flush()
        return
    first = next(views)  # report an error before changing the terminal
    with Live(console=console, auto_refresh=False) as live:
        live.update(Group(*_render(console, first, watching=True)), refresh=True)
        for view in views:
            live.update(Group(*_render(console, view, watching=True)), refresh=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns as wide as needed; the last column is not padded."""
    console = _console()
    cells = [[Text(clean(cell)) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        for cell, width in zip(row, widths, strict=True):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").join(row)
        line.rstrip()
        lines.append(line)
    _print(console, lines)


def print_report(lines: Callable[[int, view_text.Signs], Iterable[Text]]) -> None:
    """Print the lines that the function returns for the width and the signs of the output."""
    console = _console()
    width = min(console.width, READABLE)
    _print(console, lines(width, _signs(console)))


def _console() -> Console:
    # A terminal with another encoding must not turn a host's name into a traceback.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def _render(console: Console, view: dict[str, Any], *, watching: bool) -> list[Text]:
    return view_text.lines(view, times.now(), console.width, _signs(console), watching=watching)


def _signs(console: Console) -> view_text.Signs:
    return states.SIGNS if console.encoding.startswith("utf") else states.PLAIN_SIGNS


def _print(console: Console, lines: Iterable[Text]) -> None:
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
