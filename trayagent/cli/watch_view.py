"""Paint each new view over the previous view, for `status --watch`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.text import Text

from trayagent.cli.console import new_console
from trayagent.cli.print_view import render


def watch(views: Iterator[dict[str, Any]]) -> None:
    """Paint each view over the previous view.

    Without a terminal, or on one without control sequences (TERM=dumb), print one view after the other.
    """
    from rich.live import Live

    console = new_console()
    if not console.is_terminal or console.is_dumb_terminal:
        for view in views:
            for line in (*render(console, view, watching=True), Text()):
                console.print(line, soft_wrap=not console.is_terminal)
            sys.stdout.flush()
        return
    first = next(views)  # wait for the first view: if it fails, report the error before changing the terminal
    with Live(console=console, auto_refresh=False) as live:
        live.update(Group(*render(console, first, watching=True)), refresh=True)
        for view in views:
            live.update(Group(*render(console, view, watching=True)), refresh=True)
