"""Chooses what shows the icon and the messages; the only part of the desktop that depends on the platform."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trayagent.desktop.notifications.message import Message
from trayagent.desktop.tray.look import TrayBackend


class Messages(Protocol):
    """Shows messages, see notifications.message.Notifications. Can be closed."""

    @property
    def problem(self) -> str | None:
        """Why messages are not shown; None if they are, or if there was none yet."""

    def show(self, message: Message) -> None:
        """Show this under its key, and replace what was there."""

    def withdraw(self, key: str) -> None:
        """Remove the message of this key."""

    def close(self) -> None:
        """Stop. Messages on the screen stay."""


class Carrier(Protocol):
    """Carries icon and messages to the desktop; `problem` says why it cannot."""

    @property
    def problem(self) -> str | None:
        """Why there is neither icon nor message."""

    def start(self) -> None:
        """Begin on the running loop. Never raises."""

    def nudge(self) -> None:
        """Try again: a user may have logged in."""

    async def close(self) -> None:
        """End it, and wait until that is done."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The callbacks of the desktop.

    A menu item (`activated`) or a button (`invoked`) was chosen, a message was closed, a menu is about to open, or
    another panel shows the icon. The icon was `clicked` and no menu opened. A `token` came with a message, or a
    `click_token` with a click on the icon; the latter reports whether the token is used. `environment` returns that of
    the present desktop session, and may block.
    """

    activated: Callable[[Hashable], None]
    invoked: Callable[[str, str], None]
    closed: Callable[[str], None]
    opening: Callable[[], None]
    token: Callable[[str], None]
    click_token: Callable[[str], Awaitable[bool]]
    panel_changed: Callable[[], None]
    clicked: Callable[[], None]
    environment: Callable[[], Mapping[str, str]]


def session(asked: Asked, buses: Callable[[], Sequence[str | None]]) -> tuple[TrayBackend, Messages, Carrier]:
    """Return what shows the icon, what shows messages, and what carries both."""
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
    notifier = Notifier(asked.invoked, asked.closed, activation=asked.token)
    return (
        LinuxTray(item, xembed),
        notifier,
        LinuxDesktop(SessionBus([item, notifier], addresses=buses), xembed),
    )


class WithoutBus:
    """A desktop that needs no bus; `ended` waits until the icon has ended."""

    problem: str | None = None

    def __init__(self, ended: Callable[[], Awaitable[None]]) -> None:
        self._ended = ended

    def start(self) -> None:
        """Do nothing: there is no connection to make."""

    def nudge(self) -> None:
        """Do nothing: there is no connection to retry."""

    async def close(self) -> None:
        """Wait until the icon has ended."""
        await self._ended()
