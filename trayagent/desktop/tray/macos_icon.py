"""The menu bar's icon as a separate program: it reads looks as lines of JSON and writes what the user chose.

AppKit needs the main thread, and so does the agent's loop, so each has its own process. A thread reads the input and
passes every look to the main thread, the only one that touches the icon. The program ends at the end of its input.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from trayagent.desktop.tray.look import Entry, Item, Look, Pixmap
from trayagent.desktop.tray.pystray_icon import image, import_pystray, menu

OnMain = Callable[..., None]
"""Calls a function with its arguments on the main thread, soon."""


class MenuBar:
    """One icon. `icon` is pystray's class; `chosen` is called with an item's number on the main thread."""

    def __init__(self, icon: Callable[..., Any], on_main: OnMain, chosen: Callable[[Hashable], None]) -> None:
        self._class, self._on_main, self._chosen = icon, on_main, chosen
        self._icon: Any = None
        self._pixmap: Pixmap | None = None

    def run(self, lines: Iterable[str]) -> None:
        """Show the look of each line until the lines end. Call it on the main thread."""
        lines = iter(lines)
        first = next(lines, None)
        if first is None:
            return
        look = decoded(first)
        self._pixmap = look.pixmaps[0]
        self._icon = self._class("trayagent", image(look), look.tooltip, menu(look.menu, self._chosen))
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        # pystray calls this on its own thread.
        self._icon.run(setup=lambda _: self._on_main(self._appear))

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._on_main(self._show, decoded(line))
        self._on_main(self._icon.stop)

    def _appear(self) -> None:
        self._icon.visible = True

    def _show(self, look: Look) -> None:
        if look.pixmaps[0] != self._pixmap:
            self._pixmap = look.pixmaps[0]
            self._icon.icon = image(look)
        self._icon.title = look.tooltip
        self._icon.menu = menu(look.menu, self._chosen)


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

    largest = max(look.pixmaps, key=lambda pixmap: pixmap.size)
    fields = {
        "size": largest.size,
        "argb": base64.b64encode(largest.argb).decode(),
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
    pixmap = Pixmap(fields["size"], base64.b64decode(fields["argb"]))
    return Look((pixmap,), "trayagent", fields["tooltip"], tuple(map(entry, fields["menu"])))


def _tell(number: Hashable) -> None:
    print(number, flush=True)  # noqa: T201  # our output is the agent's input


def main() -> int:
    """Run the icon on a Mac."""
    pystray = import_pystray()
    # Only on a Mac does pystray install these modules. They have no type information.
    import AppKit  # type: ignore[import-not-found, unused-ignore]
    from PyObjCTools import AppHelper  # type: ignore[import-not-found, unused-ignore]

    # Show no window, and no icon in the Dock.
    policy = AppKit.NSApplicationActivationPolicyAccessory
    AppKit.NSApplication.sharedApplication().setActivationPolicy_(policy)
    MenuBar(pystray.Icon, AppHelper.callAfter, _tell).run(sys.stdin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
