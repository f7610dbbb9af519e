"""The menu bar's icon as a separate program: it reads looks as lines of JSON and writes what the user chose.

AppKit needs the main thread, and so does the agent's event loop. So the icon has its own process. A thread reads the
input and passes every look to the main thread; no other thread touches the icon. The program ends at the end of its
input.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from trayagent.desktop.tray.look import Look, Pixmap
from trayagent.desktop.tray.look_lines import decoded, report
from trayagent.desktop.tray.pystray_icon import image, import_pystray, menu

OnMain = Callable[..., None]
"""A function that calls another function on the main thread, soon."""


class MenuBar:
    """The icon in the menu bar. `icon` is pystray's class. The main thread calls `chosen` with an item's number."""

    def __init__(self, icon: Callable[..., Any], on_main: OnMain, chosen: Callable[[Hashable], None]) -> None:
        self._class, self._on_main, self._chosen = icon, on_main, chosen
        self._icon: Any = None
        self._pixmaps: tuple[Pixmap, ...] = ()

    def run(self, lines: Iterable[str]) -> None:
        """Show the look of each line until the lines end. Call it on the main thread."""
        lines = iter(lines)
        first = next(lines, None)
        if first is None:
            return
        look = decoded(first)
        self._pixmaps = look.pixmaps
        self._icon = self._class("trayagent", image(look), look.tooltip, menu(look.menu, self._chosen))
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        # pystray calls `setup` on its own thread.
        self._icon.run(setup=lambda _: self._on_main(self._appear))

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._on_main(self._show, decoded(line))
        self._on_main(self._icon.stop)

    def _appear(self) -> None:
        self._icon.visible = True

    def _show(self, look: Look) -> None:
        if look.pixmaps != self._pixmaps:
            self._pixmaps = look.pixmaps
            self._icon.icon = image(look)
        self._icon.title = look.tooltip
        self._icon.menu = menu(look.menu, self._chosen)


def main() -> int:
    """Run the icon on a Mac."""
    pystray = import_pystray()
    # pystray installs these modules only on a Mac. They have no type information.
    import AppKit  # type: ignore[import-not-found, unused-ignore]
    from PyObjCTools import AppHelper  # type: ignore[import-not-found, unused-ignore]

    # Show no window, and no icon in the Dock.
    policy = AppKit.NSApplicationActivationPolicyAccessory
    AppKit.NSApplication.sharedApplication().setActivationPolicy_(policy)
    MenuBar(pystray.Icon, AppHelper.callAfter, report).run(sys.stdin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
