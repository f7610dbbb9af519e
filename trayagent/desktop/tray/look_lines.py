"""A look as a line of JSON, for an icon that has a program of its own, and what the program answers."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Hashable
from typing import Any

from trayagent.desktop.tray.look import Entry, Item, Look, Pixmap

SHOWN, GONE, CLICKED = "shown", "gone", "clicked"
"""What the icon's program may write in addition to numbers: a tray shows the icon, or no longer, or it was clicked."""


class LineReader:
    """Reads lines from a descriptor that others poll, so that nothing stays in a buffer of Python's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def read(self) -> list[str] | None:
        """Return the lines that are complete after the next bytes; None at the end of the input."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines]


def report(chosen: Hashable) -> None:
    """Write a line to the agent: one of the words above, or the number of an item."""
    print(chosen, flush=True)  # noqa: T201  # the agent reads this


def encoded(look: Look, number_of: Callable[[Hashable], int]) -> str:
    """Return a look as a line of JSON, with numbers for the keys of its items."""

    def item(one: Item) -> dict[str, Any]:
        return {
            "number": number_of(one.key),
            "kind": one.kind,
            "label": one.label,
            "enabled": one.enabled,
            "checked": one.checked,
            "children": [item(child) for child in one.children],
        }

    fields = {
        "pixmaps": [[one.size, base64.b64encode(one.argb).decode()] for one in look.pixmaps],
        "tooltip": look.tooltip,
        "menu": [item(one) for one in look.menu],
    }
    return json.dumps(fields) + "\n"


def decoded(line: str) -> Look:
    """Return the look of a line. The keys of its items are their numbers."""

    def entry(one: dict[str, Any]) -> Entry:
        children = tuple(map(entry, one["children"]))
        return Entry(one["number"], one["label"], one["kind"], one["enabled"], one["checked"], children)

    fields = json.loads(line)
    pixmaps = tuple(Pixmap(size, base64.b64decode(argb)) for size, argb in fields["pixmaps"])
    return Look(pixmaps, "trayagent", fields["tooltip"], tuple(map(entry, fields["menu"])))
