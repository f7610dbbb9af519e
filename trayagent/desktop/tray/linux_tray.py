"""The tray on Linux: a StatusNotifierItem with a dbusmenu, on the session bus, in the agent's event loop.

It needs no DISPLAY, no GTK and no thread. No error here stops the agent: without a bus or a panel there is no icon, and
`problem` says why. The icon appears as soon as a panel can show it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

from trayagent.desktop.bus_connection import Connection
from trayagent.desktop.tray.dbusmenu_layout import Layouts
from trayagent.desktop.tray.known_panels import Panel
from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.panel_registration import FIRST_RETRY_S, Registration
from trayagent.desktop.tray.update_rate import INTERVAL_S, Pace

if TYPE_CHECKING:
    from trayagent.desktop.tray.exported_objects import Exported

log = logging.getLogger(__name__)


class StatusNotifierTray:
    """A TrayBackend and a BusUser.

    It calls `activated` with the key of the item that the user chose. It calls `opening` each time the menu is about to
    open, so that the caller can update "5 minutes ago" by calling `show`. It calls `activation` with the token that a
    panel gives for a click; `activation` may return whether the token is used. It calls `panel_changed` when another
    panel shows the icon, so that the caller can `show` a look that suits the panel. It calls `clicked` for a left click
    that does not open the menu.
    """

    def __init__(
        self,
        activated: Callable[[Hashable], None],
        *,
        program: str = "trayagent",
        opening: Callable[[], None] = lambda: None,
        activation: Callable[[str], Awaitable[bool] | None] = lambda _: None,
        panel_changed: Callable[[], None] = lambda: None,
        clicked: Callable[[], None] = lambda: None,
        interval_s: float = INTERVAL_S,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self.panel = Panel()
        self._activated, self._opening, self._activation = activated, opening, activation
        self._panel_changed, self._clicked = panel_changed, clicked
        self.problem_changed: Callable[[], None] = lambda: None
        """Called when `problem` may have changed."""
        self._program, self._first_retry_s = program, first_retry_s
        self._layouts = Layouts()
        self._wanted: Look | None = None
        self._shown: Look | None = None
        self._looked = asyncio.Event()
        self._pace = Pace(self._apply, interval_s)
        self._on: Exported | None = None
        self._off = "the session bus was not reached yet"

    @property
    def problem(self) -> str | None:
        """Why there is no icon; None if there is one."""
        if self._on is None:
            return self._off
        return self._on.registration.problem if self._looked.is_set() else "nothing is shown yet"

    def show(self, look: Look) -> None:
        """Show this look, within a quarter of a second. The same look again costs nothing."""
        self._wanted = look
        self._looked.set()
        if look != self._shown:
            self._pace.request()

    def close(self) -> None:
        """Remove the icon. Panels remove it only when the connection ends."""
        self._pace.stop()
        if self._on is not None:
            self._on.close()
        self.off_bus("the icon was taken away")

    async def on_bus(self, connection: Connection) -> None:
        """Export the icon on a new connection, and register it. Raises BusCallError."""
        from trayagent.desktop.tray.exported_objects import Exported, Handlers

        await self._looked.wait()
        self._pace.now()
        if self._shown is None:
            return
        registration = Registration(connection, self, first_retry_s=self._first_retry_s)
        self._on = Exported(
            connection,
            registration,
            program=self._program,
            look=self._shown,
            layouts=self._layouts,
            handlers=Handlers(self._chosen, self._about_to_open, self._clicked, self._activation),
        )
        await registration.start()

    def panel_is(self, panel: Panel) -> None:
        """Adapt the look to the panel that is about to show the icon."""
        if panel != self.panel:
            self.panel = panel
            self._layouts.appindicator = panel.unfolds
            self._panel_changed()
            self._pace.now()

    def off_bus(self, reason: str) -> None:
        """Forget the connection, because it has ended."""
        on, self._on, self._off = self._on, None, reason
        if on is not None:
            on.lost()
        self.problem_changed()

    def _apply(self) -> None:
        look, self._shown = self._wanted, self._wanted
        if look is None:
            return
        change = self._layouts.lay_out(look.menu)
        if self._on is not None:
            self._on.tell(look, change)

    def _chosen(self, number: int) -> None:
        if number in self._layouts.keys:
            self._activated(self._layouts.keys[number])

    def _about_to_open(self) -> None:
        self._opening()
        if self._wanted != self._shown:
            self._pace.now()
