"""Chooses what shows the icon and the messages on this platform."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.tray.look import TrayBackend


class Messages(Protocol):
    """A `Notifications` (see notifications.message) that can be closed."""

    @property
    def problem(self) -> str | None:
        """Why the last message was not shown; None if it was, or if there was no message yet."""

    def show(self, message: Message) -> None:
        """Show the message. It replaces an earlier message of the same key."""

    def withdraw(self, key: str) -> None:
        """Remove the message of this key."""

    def close(self) -> None:
        """Stop. Messages on the screen stay."""


class Carrier(Protocol):
    """The connection that icon and messages need to reach the desktop."""

    @property
    def problem(self) -> str | None:
        """Why neither the icon nor messages can be shown; None if there is no problem."""

    def start(self) -> None:
        """Connect in the running event loop. Never raises."""

    def nudge(self) -> None:
        """Try again to connect: a user may have logged in."""

    async def close(self) -> None:
        """Disconnect, and wait until that is done."""


class Asked(Struct, frozen=True):
    """The functions that the desktop calls.

    `activated`: the user chose a menu item. `not_shown`: no notification server shows this passing message. `invoked`:
    the user pressed a button of a message. `closed`: a message left the screen. `opening`: the menu is about to open.
    `clicked`: the user clicked the icon, and no menu opened. `token`: an activation token came with a click on a
    message. `click_token`: a token came with a click on the icon; returns whether the token is used. `panel_changed`:
    another panel shows the icon. `environment`: returns the environment variables of the present desktop session, and
    may block.
    """

    activated: Callable[[Hashable], None]
    not_shown: Callable[[Message], None]
    invoked: Callable[[str, str], None]
    closed: Callable[[str], None]
    opening: Callable[[], None]
    token: Callable[[str], None]
    click_token: Callable[[str], Awaitable[bool]]
    panel_changed: Callable[[], None]
    clicked: Callable[[], None]
    environment: Callable[[], Mapping[str, str]]


def session(asked: Asked, buses: Callable[[], Sequence[str | None]]) -> tuple[TrayBackend, Messages, Carrier]:
    """Return the tray, the messages, and the connection that both need."""
    if sys.platform == "darwin":
        from trayagent.desktop.notifications.macos_osascript import OsascriptNotifier
        from trayagent.desktop.tray.macos_menu_bar import MenuBarTray

        menu_bar = MenuBarTray(asked.activated)
        return menu_bar, OsascriptNotifier(), WithoutBus(menu_bar.ended)
    from trayagent.desktop.notifications.freedesktop_notifier import Notifier
    from trayagent.desktop.session_bus import SessionBus
    from trayagent.desktop.tray.linux_tray import StatusNotifierTray
    from trayagent.desktop.tray.xembed_fallback import LinuxDesktop, LinuxTray
    from trayagent.desktop.tray.xembed_tray import XEmbedTray

    item = StatusNotifierTray(
        asked.activated,
        opening=asked.opening,
        activation=asked.click_token,
        panel_changed=asked.panel_changed,
        clicked=asked.clicked,
    )
    xembed = XEmbedTray(asked.clicked, asked.environment)
    notifier = Notifier(asked.invoked, asked.closed, activation=asked.token, not_shown=asked.not_shown)
    return (
        LinuxTray(item, xembed),
        notifier,
        LinuxDesktop(SessionBus([item, notifier], addresses=buses), xembed),
    )


class WithoutBus:
    """A Carrier for a desktop without a bus. `ended` waits until the icon's program has ended."""

    problem: str | None = None

    def __init__(self, ended: Callable[[], Awaitable[None]]) -> None:
        self._ended = ended

    def start(self) -> None:
        """Do nothing: there is no connection to make."""

    def nudge(self) -> None:
        """Do nothing: there is no connection to retry."""

    async def close(self) -> None:
        """Wait until the icon's program has ended."""
        await self._ended()
