"""The icon and its menu on one connection. Imported only when there is one, because it imports dbus-fast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trayagent.desktop.bus_connection import Connection
from trayagent.desktop.tray import dbusmenu, status_notifier_item
from trayagent.desktop.tray.dbusmenu_layout import Change, Layouts
from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.panel_registration import Registration


@dataclass(frozen=True, slots=True)
class Handlers:
    """The functions to call for what the user does.

    `chosen` gets the number of a menu item, `activation` the token for the window that a click opens.
    """

    chosen: Callable[[int], None]
    opening: Callable[[], None]
    clicked: Callable[[], None]
    activation: Callable[[str], Awaitable[bool] | None]


class Exported:
    """The two objects that a panel reads. Made for each connection: dbus-fast keeps the handlers of dead ones."""

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
        """Emit the signals that a panel needs to show this."""
        if self._bus.connected:
            self._item.tell(look)
            self._menu.tell(change)

    def close(self) -> None:
        """Remove the objects from the bus. Panels remove the icon when the connection ends."""
        self.registration.stop()
        self._bus.unexport(status_notifier_item.PATH, self._item)
        self._bus.unexport(dbusmenu.PATH, self._menu)

    def lost(self) -> None:
        """Stop the registration: the connection is gone, and the objects with it."""
        self.registration.stop()
