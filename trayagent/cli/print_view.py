"""Print the view once, for `status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from trayagent.cli import view_text
from trayagent.cli.console import new_console, print_lines, signs_of
from trayagent.presentation import times
from trayagent.presentation.translation import translated_view


def show(view: Mapping[str, Any]) -> None:
    """Print the view once."""
    console = new_console()
    print_lines(console, render(console, view, watching=False))


def render(console: Console, view: Mapping[str, Any], *, watching: bool) -> list[Text]:
    """Return the lines of a view for the width and the signs of the output."""
    return view_text.lines(
        translated_view(view), times.now(), console.width, signs_of(console), watching=watching
    )
