"""Keeps the icon registered with the panel's StatusNotifierWatcher, which passes it to the hosts that show icons.

Source: the StatusNotifierItem specification, StatusNotifierWatcher.
"""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any, Protocol

from trayagent.desktop.bus_connection import BUS, BUS_PATH, BusCallError, Call, Connection
from trayagent.desktop.tray.known_panels import Panel, panel_of

log = logging.getLogger(__name__)

WATCHER = "org.kde.StatusNotifierWatcher"
_PATH = "/StatusNotifierWatcher"

# A watcher that refuses the icon is starting up, or will stay broken for long. So the pauses grow.
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 300.0

NO_WATCHER = (
    "no panel here shows tray icons; the icon appears as soon as one does "
    "(GNOME: enable the extension AppIndicator and KStatusNotifierItem Support)"
)
DROPPED = "the panel's tray dropped the icon; it is registered again"
NO_HOST = "a panel's tray is registered, but shows nothing yet"


class PanelUser(Protocol):
    """The owner of the icon, which adapts the icon and its menu to the panel."""

    def panel_is(self, panel: Panel) -> None:
        """Adapt to another panel, which is about to show the icon."""

    def problem_changed(self) -> None:
        """Read the registration's `problem` again, because it may have changed."""


class Registration:
    """The icon's registration on one bus connection."""

    def __init__(
        self, connection: Connection, user: PanelUser, *, first_retry_s: float = FIRST_RETRY_S
    ) -> None:
        self._problem: str | None = NO_WATCHER
        self._user = user
        self._connection, self._first_retry_s, self._retry_s = connection, first_retry_s, first_retry_s
        # Register without a bus name of our own, as sandboxed KDE programs do. AppIndicator's extension for GNOME would
        # watch that name, too, and drop the icon if the bus is late to report its owner (seen with 46-1).
        self._name = connection.bus.unique_name or ""
        self._task: asyncio.Task[None] | None = None
        self._check: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why no panel shows the icon; None if a panel does."""
        return self._problem

    @problem.setter
    def problem(self, problem: str | None) -> None:
        self._problem = problem
        self._user.problem_changed()

    async def start(self) -> None:
        """Register with each watcher that appears. Raises BusCallError."""
        await self._connection.listen(WATCHER, WATCHER, "StatusNotifierHostRegistered", "", self._host_came)
        await self._connection.listen(WATCHER, WATCHER, "StatusNotifierHostUnregistered", "", self._host_went)
        await self._connection.listen(WATCHER, WATCHER, "StatusNotifierItemUnregistered", "s", self._dropped)
        await self._connection.watch_name(WATCHER, self._watcher_is)

    def stop(self) -> None:
        """Stop trying."""
        self._stop_checking()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _watcher_is(self, owner: str | None) -> None:
        self.stop()
        self.problem = NO_WATCHER
        if owner is not None:
            self._retry_s = self._first_retry_s
            self._begin(0.0)

    def _begin(self, wait_s: float) -> None:
        self._task = asyncio.get_running_loop().create_task(self._register(wait_s), name="tray registration")
        self._task.add_done_callback(self._ended)

    def _dropped(self, body: list[Any]) -> None:
        """Register again if the watcher dropped the icon. The watcher may append a path to the icon's name."""
        if self._task is not None and self._task.done() and re.split("[@/]", body[0])[0] == self._name:
            log.warning("%s", DROPPED)
            self.problem = DROPPED
            self._begin(self._pause_s())

    def _host_came(self, _: list[object]) -> None:
        self._stop_checking()
        # A running registration sets `problem` at its end.
        if self._task is None or self._task.done():
            self.problem = None

    def _host_went(self, _: list[object]) -> None:
        """Check whether another host still shows the icon, because there may be several panels."""
        self._stop_checking()
        if self._task is None or not self._task.done():
            return
        self._check = asyncio.get_running_loop().create_task(self._check_hosts(), name="tray hosts")
        self._check.add_done_callback(self._ended)

    def _stop_checking(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None

    async def _check_hosts(self) -> None:
        self.problem = await self._why_unseen()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"the tray icon's registration failed: {error!r}"
            log.error("the tray icon's registration failed", exc_info=error)

    def _pause_s(self) -> float:
        """Return how many seconds to wait before the next try with this watcher. The time doubles with each call."""
        pause_s, self._retry_s = self._retry_s, min(self._retry_s * 2, LAST_RETRY_S)
        return pause_s

    async def _register(self, wait_s: float) -> None:
        register = Call(WATCHER, _PATH, WATCHER, "RegisterStatusNotifierItem")
        await asyncio.sleep(wait_s)
        self._user.panel_is(await self._panel())
        while True:
            try:
                await self._connection.call(register, "s", [self._name])
            except BusCallError as e:
                problem = f"the panel's tray refuses the icon: {e}"
                if problem != self.problem:
                    log.warning("%s", problem)
                self.problem = problem
                await asyncio.sleep(self._pause_s())
            else:
                self.problem = await self._why_unseen()
                return

    async def _panel(self) -> Panel:
        """Return the panel to which the watcher belongs."""
        get = Call(BUS, BUS_PATH, BUS, "GetConnectionUnixProcessID")
        try:
            (pid,) = await self._connection.call(get, "s", [WATCHER], answer="u")
            return panel_of(Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip())
        except (BusCallError, OSError) as e:
            log.info("the program of %s is unknown: %s", WATCHER, e)
            return Panel()

    async def _why_unseen(self) -> str | None:
        """Return NO_HOST if the watcher has no host that shows icons, otherwise (or without an answer) None."""
        get = Call(WATCHER, _PATH, "org.freedesktop.DBus.Properties", "Get")
        try:
            (answer,) = await self._connection.call(
                get, "ss", [WATCHER, "IsStatusNotifierHostRegistered"], answer="v"
            )
        except BusCallError as e:
            log.info("%s does not say whether it shows icons: %s", WATCHER, e)
            return None
        return NO_HOST if answer.value is False else None
