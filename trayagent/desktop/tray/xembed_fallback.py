"""The tray on Linux: a StatusNotifierItem, or an XEmbed icon if no panel shows the StatusNotifierItem."""

from __future__ import annotations

from trayagent.desktop.session_bus import SessionBus
from trayagent.desktop.tray.known_panels import Panel
from trayagent.desktop.tray.linux_tray import StatusNotifierTray
from trayagent.desktop.tray.look import Look, Protocols
from trayagent.desktop.tray.xembed_tray import XEmbedTray


class LinuxTray:
    """A TrayBackend that uses both protocols."""

    def __init__(self, item: StatusNotifierTray, xembed: XEmbedTray) -> None:
        self._item, self._xembed = item, xembed
        item.problem_changed = self._choose

    @property
    def problem(self) -> str | None:
        """Why there is no icon; None if there is one."""
        return None if self._xembed.shown else self._item.problem

    @property
    def protocol(self) -> Protocols | None:
        """How the panel shows the icon; None if there is no icon."""
        if self._item.problem is None:
            return "StatusNotifierItem"
        return "XEmbed" if self._xembed.shown else None

    @property
    def panel(self) -> Panel:
        """The panel that shows the StatusNotifierItem."""
        return self._item.panel

    def show(self, look: Look) -> None:
        """Show this look."""
        self._item.show(look)
        self._xembed.show(look)

    def close(self) -> None:
        """Remove the icon."""
        self._item.problem_changed = lambda: None
        self._item.close()
        self._xembed.close()
        self._xembed.needed(False)

    def _choose(self) -> None:
        """Show the XEmbed icon if and only if no panel shows the StatusNotifierItem."""
        self._xembed.needed(self._item.problem is not None)


class LinuxDesktop:
    """A Carrier of icon and messages: the session bus, and the XEmbed icon, which needs no bus."""

    def __init__(self, bus: SessionBus, xembed: XEmbedTray) -> None:
        self._bus, self._xembed = bus, xembed

    @property
    def problem(self) -> str | None:
        """Why there is no session bus; None if there is one."""
        return self._bus.problem

    def start(self) -> None:
        """Start to connect. Never raises."""
        self._bus.start()

    def nudge(self) -> None:
        """Try again: a user may have logged in."""
        self._bus.nudge()
        self._xembed.nudge()

    async def close(self) -> None:
        """Disconnect from the bus, and wait until that is done and the XEmbed icon's program has ended."""
        await self._bus.close()
        await self._xembed.ended()
