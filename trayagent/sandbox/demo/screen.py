"""The demo's display: a terminal with some lines that are repainted, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

COLUMNS = 80
LABEL_COLUMNS = 9
# Replacements for terminals without UTF-8.
PLAIN = str.maketrans({"━": "=", "▶": ">", "é": "e"})


def for_stdout() -> Screen:
    """Return the screen for stdout. It repaints lines and uses colours only on a terminal (see NO_COLOR)."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = COLUMNS
    moving = sys.stdout.isatty() and console.is_interactive and not console.is_dumb_terminal
    return Screen(console, moving=moving)


class Screen:
    """Permanent lines and, on a terminal, some lines below them that are repainted."""

    def __init__(self, console: Console, *, moving: bool) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if moving else None
        self._utf8 = console.encoding.startswith("utf")
        self.columns = min(console.width, COLUMNS)

    def heading(self, text: str) -> None:
        """Print the heading of a part, with an empty line before it."""
        self._print(Text())
        self._print(Text(text, style="bold"))

    def row(self, label: str, text: str, style: str = "") -> None:
        """Print one row: `label` (a time or a name) and the text."""
        line = Text(f"{label:>{LABEL_COLUMNS}}  ", style="cyan")
        self._print(line.append(text, style=style or "default"))

    def timed_rows(self, begin: float) -> Callable[[str], None]:
        """Return a function that prints a text as a row, with the seconds since `begin` (monotonic) before it."""
        return lambda text: self.row(f"{time.monotonic() - begin:.1f} s", text)

    def lines(self, lines: Sequence[Text]) -> None:
        """Print lines as they are, with an empty line before them."""
        self._print(Text())
        for line in lines:
            self._print(line)

    def paragraph(self, text: str) -> None:
        """Print a text, wrapped, with an empty line before it."""
        self._print(Text())
        for line in Text(text).wrap(self._console, self.columns):
            line.rstrip()
            self._print(line)

    def moving(self, lines: Sequence[Text]) -> None:
        """Repaint the moving lines, or remove them if `lines` is empty. Without a terminal, do nothing."""
        if self._live:
            shown = [Text(), *lines] if lines else []
            self._live.update(Group(*map(self._plain, shown)), refresh=True)

    def _print(self, line: Text) -> None:
        self._console.print(self._plain(line), soft_wrap=True)

    def _plain(self, line: Text) -> Text:
        if not self._utf8:
            line.plain = line.plain.translate(PLAIN)
        return line

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.update(Group())
            self._live.stop()
