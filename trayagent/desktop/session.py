"""What shows the icon and the messages here: the one place of the desktop that asks which system this is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trayagent.desktop.notifications.message import Message
from trayagent.desktop.tray.look import TrayBackend


class Messages(Protocol):
    """Shows messages, see notifications.message.Notifications; can be closed."""

    @property
    def problem(self) -> str | None:
        """Why messages are not shown, None when they are or nothing was told yet."""

    def show(self, message: Message) -> None:
        """Show this under its key, in place of what was there."""

    def withdraw(self, key: str) -> None:
        """Take what was shown under the key away."""

    def close(self) -> None:
        """Stop; what is on the screen stays."""


class Carrier(Protocol):
    """What carries the two to the desktop; `problem` says why nothing does."""

    @property
    def problem(self) -> str | None:
        """Why there is neither icon nor message."""

    def start(self) -> None:
        """Begin on the running loop; never raises."""

    def nudge(self) -> None:
        """Try again: somebody may have logged in."""

    async def close(self) -> None:
        """End it, and wait until that is done."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the desktop calls back: an item or a button was chosen, a menu opens, a message went, a token came."""

    activated: Callable[[Hashable], None]
    invoked: Callable[[str, str], None]
    closed: Callable[[str], None]
    opening: Callable[[], None]
    token: Callable[[str], None]


def session(asked: Asked, buses: Callable[[], Sequence[str | None]]) -> tuple[TrayBackend, Messages, Carrier]:
    """Return what shows the icon, what shows messages, and what carries both."""
    if sys.platform == "darwin":
        from trayagent.desktop.notifications.macos_osascript import OsascriptNotifier
        from trayagent.desktop.tray.macos_menu_bar import MenuBarTray

        menu_bar = MenuBarTray(asked.activated)
        return menu_bar, OsascriptNotifier(), WithoutBus(menu_bar.ended)
    from trayagent.desktop.bus import SessionBus
    from trayagent.desktop.notifications.notifier import Notifier
    from trayagent.desktop.tray.status_notifier import StatusNotifierTray

    tray = StatusNotifierTray(asked.activated, opening=asked.opening, activation=asked.token)
    notifier = Notifier(asked.invoked, asked.closed, activation=asked.token)
    return tray, notifier, SessionBus([tray, notifier], addresses=buses)


class WithoutBus:
    """A desktop that needs no bus; `ended` waits for what runs."""

    problem: str | None = None

    def __init__(self, ended: Callable[[], Awaitable[None]]) -> None:
        self._ended = ended

    def start(self) -> None:
        """Nothing is to be connected."""

    def nudge(self) -> None:
        """Nothing is to be tried again."""

    async def close(self) -> None:
        """Wait for the icon's end."""
        await self._ended()
