"""The D-Bus interface org.kde.StatusNotifierItem, by which a panel reads the icon.

It has every property, because panels log missing ones. dbus-fast reads the annotations when the class is made, so this
module must not use `from __future__ import annotations`. Source: the StatusNotifierItem specification at
freedesktop.org, and what xfce4-panel, lxqt-panel and GNOME's extension read.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from dbus_fast import PropertyAccess
from dbus_fast.annotations import DBusBool, DBusInt32, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from trayagent.desktop.bus_connection import bus_text
from trayagent.desktop.tray import dbusmenu
from trayagent.desktop.tray.look import Look
from trayagent.presentation.text import left_to_right

NAME = "org.kde.StatusNotifierItem"
PATH = "/StatusNotifierItem"

Pixmaps = Annotated[list[list[Any]], DBusSignature("a(iiay)")]
ToolTipStruct = Annotated[list[Any], DBusSignature("(sa(iiay)ss)")]


class StatusNotifierItem(ServiceInterface):
    """The icon on one bus connection.

    It calls `clicked` if a panel reports a left click instead of opening the menu. It calls `activation` with the token
    that a panel on Wayland gives before a click; `activation` may return whether the token is used.
    """

    def __init__(
        self,
        program: str,
        look: Look,
        clicked: Callable[[], None],
        activation: Callable[[str], Awaitable[bool] | None],
    ) -> None:
        super().__init__(NAME)
        self._program, self._look, self._clicked = program, look, clicked
        self._activation = activation

    def tell(self, look: Look) -> None:
        """Show this look, and emit a signal for each difference from the previous look."""
        before, self._look = self._look, look
        if (look.pixmaps, look.icon_name) != (before.pixmaps, before.icon_name):
            self.NewIcon()
            self.NewAttentionIcon()
        if look.title != before.title:
            self.NewTitle()
        if (look.title, look.tooltip) != (before.title, before.tooltip):
            self.NewToolTip()
        if look.attention != before.attention:
            self.NewStatus()

    @dbus_property(access=PropertyAccess.READ)
    def Category(self) -> DBusStr:  # noqa: D102, N802  # the specification's name, as for all methods below
        return "SystemServices"  # a service in the background; panels sort and group by the category

    @dbus_property(access=PropertyAccess.READ)
    def Id(self) -> DBusStr:  # noqa: D102, N802
        return self._program

    @dbus_property(access=PropertyAccess.READ)
    def Title(self) -> DBusStr:  # noqa: D102, N802
        return bus_text(self._look.title)

    @dbus_property(access=PropertyAccess.READ)
    def Status(self) -> DBusStr:  # noqa: D102, N802
        return "NeedsAttention" if self._look.attention else "Active"

    @dbus_property(access=PropertyAccess.READ)
    def WindowId(self) -> DBusInt32:  # noqa: D102, N802
        return 0

    @dbus_property(access=PropertyAccess.READ)
    def IconThemePath(self) -> DBusStr:  # noqa: D102, N802
        return ""

    @dbus_property(access=PropertyAccess.READ)
    def IconName(self) -> DBusStr:  # noqa: D102, N802
        return self._look.icon_name

    @dbus_property(access=PropertyAccess.READ)
    def IconPixmap(self) -> Pixmaps:  # noqa: D102, N802
        return [[p.size, p.size, p.argb] for p in self._look.pixmaps]

    @dbus_property(access=PropertyAccess.READ)
    def IconAccessibleDesc(self) -> DBusStr:  # noqa: D102, N802
        return bus_text(self._look.description)

    @dbus_property(access=PropertyAccess.READ)
    def OverlayIconName(self) -> DBusStr:  # noqa: D102, N802
        return ""

    @dbus_property(access=PropertyAccess.READ)
    def OverlayIconPixmap(self) -> Pixmaps:  # noqa: D102, N802
        return []

    @dbus_property(access=PropertyAccess.READ)
    def AttentionIconName(self) -> DBusStr:  # noqa: D102, N802
        return self._look.icon_name if self._look.attention_icon else ""

    @dbus_property(access=PropertyAccess.READ)
    def AttentionIconPixmap(self) -> Pixmaps:  # noqa: D102, N802
        return [[p.size, p.size, p.argb] for p in self._look.pixmaps if self._look.attention_icon]

    @dbus_property(access=PropertyAccess.READ)
    def AttentionAccessibleDesc(self) -> DBusStr:  # noqa: D102, N802
        return bus_text(self._look.description)

    @dbus_property(access=PropertyAccess.READ)
    def AttentionMovieName(self) -> DBusStr:  # noqa: D102, N802
        return ""

    @dbus_property(access=PropertyAccess.READ)
    def ToolTip(self) -> ToolTipStruct:  # noqa: D102, N802
        return ["", [], bus_text(self._look.title), bus_text(left_to_right(self._look.tooltip))]

    @dbus_property(access=PropertyAccess.READ)
    def ItemIsMenu(self) -> DBusBool:  # noqa: D102, N802
        return self._look.click_opens_menu

    @dbus_property(access=PropertyAccess.READ)
    def Menu(self) -> DBusObjectPath:  # noqa: D102, N802
        return dbusmenu.PATH

    @dbus_method()
    def Activate(self, x: DBusInt32, y: DBusInt32) -> None:  # noqa: ARG002, D102, N802
        self._clicked()

    @dbus_method()
    def SecondaryActivate(self, x: DBusInt32, y: DBusInt32) -> None:  # noqa: D102, N802
        pass

    @dbus_method()
    def ContextMenu(self, x: DBusInt32, y: DBusInt32) -> None:  # noqa: D102, N802
        pass

    @dbus_method()
    def Scroll(self, delta: DBusInt32, orientation: DBusStr) -> None:  # noqa: D102, N802
        pass

    @dbus_method()
    async def ProvideXdgActivationToken(self, token: DBusStr) -> None:  # noqa: D102, N802
        # GNOME's extension does not wait for this answer before it reports the choice. An error stops its spinning
        # pointer.
        used = self._activation(token)
        if used is not None and not await used:
            raise DBusError("org.freedesktop.DBus.Error.Failed", "this choice opens no window")

    @dbus_signal()
    def NewIcon(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def NewAttentionIcon(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def NewTitle(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def NewToolTip(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def NewStatus(self) -> DBusStr:  # noqa: D102, N802
        return "NeedsAttention" if self._look.attention else "Active"
