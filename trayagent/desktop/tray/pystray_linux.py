"""The agent's tray on Linux as an Icon of pystray, because the back end that pip installs on Linux has no menu.

pystray calls its Icon from a set-up thread, and from any thread of the program that uses it. So each call is passed on
to the event loop that owns the icon. `_base` is private to pystray, so pystray's version is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from trayagent.desktop.notifications.freedesktop_notifier import Notifier
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.session_bus import SessionBus
from trayagent.desktop.tray.linux_tray import StatusNotifierTray
from trayagent.desktop.tray.look import Entry, Kind, Look, Pixmap
from trayagent.desktop.tray.pystray_icon import import_pystray

if TYPE_CHECKING:
    from PIL.Image import Image

import_pystray()
from pystray._base import Icon as BaseIcon  # noqa: E402  # import_pystray chose its back end

SIZES = (16, 22, 24, 32, 48)
_MESSAGE = "pystray"


class Icon(BaseIcon):  # type: ignore[misc]  # pystray ships no types
    """pystray's Icon on the session bus. `problem` says why no panel shows it.

    `run` uses its own event loop, `run_detached` the running event loop.
    """

    HAS_DEFAULT_ACTION = False  # either click opens the menu
    HAS_MENU = True
    HAS_MENU_RADIO = True
    HAS_NOTIFICATION = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.served: asyncio.Task[None] | None = None
        """The task that serves a detached icon. It ends after `stop`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._chosen: dict[Hashable, Any] = {}
        self._tray: StatusNotifierTray | None = None
        self._bus: SessionBus | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._notifier = Notifier(lambda *_: None)

    @property
    def problem(self) -> str | None:
        """Why there is no icon; None if there is one."""
        return "it was not shown yet" if self._tray is None else self._tray.problem

    def _run(self) -> None:
        asyncio.run(self._serve())

    def _run_detached(self) -> None:
        self.served = asyncio.get_running_loop().create_task(self._serve(), name="pystray icon")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        messages = SessionBus([self._notifier])
        messages.start()
        self._mark_ready()
        await self._end.wait()
        self._hide_now()
        self._loop = None
        await asyncio.gather(messages.close(), *self._leaving)

    def _stop(self) -> None:
        self._hop(self._end.set)

    def _show(self) -> None:
        self._hop(self._show_now)

    def _hide(self) -> None:
        self._hop(self._hide_now)

    def _update_icon(self) -> None:
        self._icon_valid = True
        self._hop(self._refresh)

    def _update_title(self) -> None:
        self._hop(self._refresh)

    def _update_menu(self) -> None:
        self._hop(self._refresh)

    def _notify(self, message: str, title: str | None = None) -> None:
        told = Message(_MESSAGE, title or self.title or self.name, message)
        self._hop(lambda: self._notifier.show(told))

    def _remove_notification(self) -> None:
        self._hop(lambda: self._notifier.withdraw(_MESSAGE))

    def _hop(self, work: Callable[[], None]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(work)

    def _show_now(self) -> None:
        self._tray = StatusNotifierTray(self._activated, program=self.name)
        self._bus = SessionBus([self._tray])
        self._bus.start()
        self._refresh()

    def _hide_now(self) -> None:
        if self._tray is not None and self._bus is not None:
            self._tray.close()
            task = asyncio.get_running_loop().create_task(self._bus.close(), name="pystray icon leaves")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            self._tray = self._bus = None

    def _refresh(self) -> None:
        if self._tray is not None and self.icon is not None:
            self._chosen.clear()
            entries = self._entries(self.menu, ()) if self.menu is not None else ()
            self._tray.show(Look(_pixmaps(self.icon), self.name, self.title, entries))

    def _entries(self, menu: Any, above: tuple[int, ...]) -> tuple[Entry, ...]:
        return tuple(self._entry(item, (*above, place)) for place, item in enumerate(menu))

    def _entry(self, item: Any, key: tuple[int, ...]) -> Entry:
        """Return a menu item of pystray as an Entry. The items have no names, so `key` is their position."""
        if item is import_pystray().Menu.SEPARATOR:
            return Entry(key, kind="separator")
        if item.submenu is not None:
            return Entry(key, item.text, "submenu", item.enabled, children=self._entries(item.submenu, key))
        self._chosen[key] = item
        kind: Kind = "action" if item.checked is None else "radio" if item.radio else "checkbox"
        return Entry(key, item.text, kind, item.enabled, bool(item.checked))

    def _activated(self, key: Hashable) -> None:
        if key in self._chosen:
            self._handler(self._chosen[key])()


def _pixmaps(image: Image) -> tuple[Pixmap, ...]:
    """Return an image as pixmaps in the sizes that panels use."""
    from PIL import Image as Images

    def scaled(size: int) -> Pixmap:
        red, green, blue, alpha = image.convert("RGBA").resize((size, size)).split()
        return Pixmap(size, Images.merge("RGBA", (alpha, red, green, blue)).tobytes())

    return tuple(map(scaled, SIZES))
