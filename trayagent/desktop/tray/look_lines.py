"""The lines between the agent and a separate icon program: a look as JSON, and what the program answers."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Hashable
from typing import Any

from trayagent.desktop.tray.look import Entry, Item, Look, Pixmap

SHOWN, GONE, CLICKED = "shown", "gone", "clicked"
"""What the icon's program may write in addition to numbers.

SHOWN: a tray shows the icon. GONE: no tray shows it any more. CLICKED: the user clicked the icon.
"""


class LineReader:
    """Reads lines from a descriptor that the caller polls, without Python's buffer, where lines could remain."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def read(self) -> list[str] | None:
        """Read the next bytes, and return the lines that are now complete; None at the end of the input."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines]


def report(chosen: Hashable) -> None:
    """Write a line to the agent: SHOWN, GONE or CLICKED, or the number of the chosen item."""
    print(chosen, flush=True)  # noqa: T201  # the agent reads this


def encoded(look: Look, number_of: Callable[[Hashable], int]) -> str:
    """Return a look as a line of JSON. Its items have the numbers that `number_of` returns for their keys."""

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
