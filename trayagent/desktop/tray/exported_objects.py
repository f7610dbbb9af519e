"""The icon and its menu on one bus connection. Import this only when connected: it loads dbus-fast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from trayagent.desktop.bus_connection import Connection
from trayagent.desktop.tray import dbusmenu, status_notifier_item
from trayagent.desktop.tray.dbusmenu_layout import Change, Layouts
from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.panel_registration import Registration


class Handlers(Struct, frozen=True):
    """The functions to call when the user does something.

    `chosen` gets the number of a menu item. `opening`: the menu is about to open. `clicked`: a left click on the icon.
    `activation` gets the token for the window that a click opens.
    """

    chosen: Callable[[int], None]
    opening: Callable[[], None]
    clicked: Callable[[], None]
    activation: Callable[[str], Awaitable[bool] | None]


class Exported:
    """The two objects that a panel reads.

    Make new ones for each connection, because dbus-fast keeps the handlers of a connection that has ended.
    """

    def __init__(
        self,
        connection: Connection,
        registration: Registration,
        *,
        program: str,
        look: Look,
        layouts: Layouts,
        handlers: Handlers,
    ) -> None:
        self.registration, self._bus = registration, connection.bus
        self._item = status_notifier_item.StatusNotifierItem(
            program, look, handlers.clicked, handlers.activation
        )
        self._menu = dbusmenu.DBusMenu(layouts, handlers.chosen, handlers.opening)
        self._bus.export(status_notifier_item.PATH, self._item)
        self._bus.export(dbusmenu.PATH, self._menu)

    def tell(self, look: Look, change: Change) -> None:
        """Emit the signals that report the new look and the changed menu to the panel."""
        if self._bus.connected:
            self._item.tell(look)
            self._menu.tell(change)

    def close(self) -> None:
        """Remove the objects from the bus. Panels remove the icon only when the connection ends."""
        self.registration.stop()
        self._bus.unexport(status_notifier_item.PATH, self._item)
        self._bus.unexport(dbusmenu.PATH, self._menu)

    def lost(self) -> None:
        """Stop the registration, because the connection has ended."""
        self.registration.stop()
