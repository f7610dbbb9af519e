"""pystray's icon for X, with additions: clicks, a tray that starts later, and the tray's background.

Importing this module needs a display. So import it only in the icon's own program.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace
from PIL import Image
from Xlib import X, error
from Xlib.protocol.event import ClientMessage

from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.look_lines import CLICKED, GONE, SHOWN, LineReader, decoded, report
from trayagent.desktop.tray.pystray_icon import image

os.environ["PYSTRAY_BACKEND"] = "xorg"
from pystray._xorg import Icon as BaseIcon  # import this only after the back end is chosen


class Icon(BaseIcon):  # type: ignore[misc]  # pystray ships no types
    """The icon, which shows the looks that arrive as lines. Everything happens on one thread.

    pystray itself uses a second thread. Both threads then write to the same display, and a picture can get lost.
    """

    _systray_manager: Any

    def __init__(self, lines: LineReader, look: Look) -> None:
        super().__init__("trayagent", _pictures(look), "trayagent")  # the window's name must be Latin-1
        self._lines = lines
        self._look = look
        self._manager = self._display.intern_atom("MANAGER")
        self._display.screen().root.change_attributes(event_mask=X.StructureNotifyMask)
        self._message_handlers[X.ClientMessage] = self._on_client_message
        self._message_handlers[X.ReparentNotify] = self._on_reparent
        self._name_window()

    def serve(self) -> None:
        """Show the icon until the input ends or the tray destroys it."""
        self._thread = threading.current_thread()
        self.visible = True
        self._mainloop()

    def _events(self) -> Iterator[Any]:
        """Yield the display's events. In between, show the looks that arrive."""
        poll = select.poll()
        poll.register(self._display.fileno(), select.POLLIN)
        poll.register(self._lines.fd, select.POLLIN)
        while True:
            while self._display.pending_events():
                yield self._display.next_event()
            if any(fd == self._lines.fd for fd, _ in poll.poll()):
                lines = self._lines.read()
                if lines is None:
                    return
                if lines:
                    self._take(decoded(lines[-1]))

    def _take(self, look: Look) -> None:
        before, self._look = self._look, look
        if look.pixmaps != before.pixmaps:
            self.icon = _pictures(look)
        self._name_window()

    def _create_window(self) -> Any:
        window = super()._create_window()
        window.change_attributes(event_mask=X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask)
        return window

    def _assert_docked(self) -> None:
        """Ask the tray once to show the icon. Without a tray, do nothing until a tray announces itself."""
        if self._systray_manager is None:
            self._dock_window()

    def _on_client_message(self, event: ClientMessage) -> None:
        if event.client_type == self._manager and event.data[1][1] == self._net_system_tray_sx:
            self._dock_window()

    def _on_reparent(self, event: Any) -> None:
        if event.window != self._window:
            return
        at_root = event.parent == self._display.screen().root
        if not at_root and self._window.get_geometry().depth == event.parent.get_geometry().depth:
            # The X server allows ParentRelative only if the depths are equal. Otherwise the background is black.
            self._window.change_attributes(background_pixmap=X.ParentRelative)
        report(GONE if at_root else SHOWN)

    def _on_destroy_notify(self, event: Any) -> None:
        if self._systray_manager is not None and event.window.id == self._systray_manager.id:
            self._systray_manager = None
            self._dock_window()

    def _on_button_press(self, event: Any) -> None:
        if event.detail == X.Button1:
            report(CLICKED)

    def _name_window(self) -> None:
        name, utf8 = self._display.intern_atom("_NET_WM_NAME"), self._display.intern_atom("UTF8_STRING")
        self._window.change_property(name, utf8, 8, self._look.tooltip.encode())

    def _assert_icon_data(self, width: int, height: int) -> None:
        """Draw the icon on the tray's own pixels, in the middle."""
        side = min(width, height)
        largest = self._icon[max(self._icon)]
        picture = self._icon.get(side) or largest.resize((side, side), Image.Resampling.LANCZOS)
        self._icon_data = self._background(width, height)
        self._icon_data.paste(picture, ((width - side) // 2, (height - side) // 2), picture)

    def _background(self, width: int, height: int) -> Image.Image:
        try:
            self._window.clear_area()
            pixels = self._window.get_image(0, 0, width, height, X.ZPixmap, 0xFFFFFFFF)
            return Image.frombytes("RGB", (width, height), pixels.data, "raw", "BGRX")
        except (error.BadMatch, error.BadDrawable, ValueError):
            # The window is hidden, or the display has few colours.
            return Image.new("RGB", (width, height))


def _pictures(look: Look) -> dict[int, Image.Image]:
    """Return the pictures of a look by their size in pixels."""
    return {one.size: image(replace(look, pixmaps=(one,))) for one in look.pixmaps}
