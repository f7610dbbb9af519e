"""A TrayBackend over pystray's Icon, for systems where pystray has a complete back end (macOS).

On Linux the agent uses StatusNotifierTray directly. Its menu items have keys, where pystray only has positions, and it
needs no second thread. pystray_linux.py offers StatusNotifierTray as a pystray Icon, so that tests on Linux can run
this module in a panel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from trayagent.desktop.tray.known_panels import Panel
from trayagent.desktop.tray.look import Item, Look

if TYPE_CHECKING:
    from PIL.Image import Image


def import_pystray() -> Any:
    """Import pystray. On Linux choose its dummy back end, because importing the others fails without a display."""
    if sys.platform == "linux":
        os.environ.setdefault("PYSTRAY_BACKEND", "dummy")
    import pystray

    return pystray


class PystrayTray:
    """A TrayBackend over a pystray Icon class. `activated` is called on pystray's thread."""

    def __init__(
        self, activated: Callable[[Hashable], None], icon: Callable[..., Any], name: str = "trayagent"
    ) -> None:
        self.problem: str | None = None
        self.panel = Panel()
        self._activated, self._class, self._name = activated, icon, name
        self._icon: Any = None
        self._shown: Look | None = None

    def show(self, look: Look) -> None:
        """Show this look. On macOS call it only on the main thread, as AppKit requires."""
        before, self._shown = self._shown, look
        if self._icon is None:
            self._icon = self._class(self._name, image(look), look.tooltip, menu(look.menu, self._activated))
            self._icon.run_detached()
            return
        if before is None or look.pixmaps != before.pixmaps:
            self._icon.icon = image(look)
        self._icon.title = look.tooltip
        self._icon.menu = menu(look.menu, self._activated)

    def close(self) -> None:
        """Remove the icon."""
        if self._icon is not None:
            self._icon.stop()
            self._icon = None


def image(look: Look) -> Image:
    """Return the largest pixmap of a look as an image for pystray."""
    from PIL import Image

    largest = max(look.pixmaps, key=lambda p: p.size)
    size = (largest.size, largest.size)
    alpha, red, green, blue = Image.frombytes("RGBA", size, largest.argb).split()
    return Image.merge("RGBA", (red, green, blue, alpha))


def menu(items: Sequence[Item], activated: Callable[[Hashable], None]) -> Any:
    """Return pystray's menu of these items."""
    pystray = import_pystray()
    return pystray.Menu(*(_item(pystray, item, activated) for item in items))


def _item(pystray: Any, item: Item, activated: Callable[[Hashable], None]) -> Any:
    if item.kind == "separator":
        return pystray.Menu.SEPARATOR
    if item.kind == "submenu":
        return pystray.MenuItem(item.label, menu(item.children, activated), enabled=item.enabled)
    toggles = item.kind in {"checkbox", "radio"}
    return pystray.MenuItem(
        item.label,
        lambda _: activated(item.key),
        checked=(lambda _: item.checked) if toggles else None,
        radio=item.kind == "radio",
        enabled=item.enabled and item.kind != "label",
    )
