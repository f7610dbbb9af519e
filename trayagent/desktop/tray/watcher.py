"""Keeps the icon registered with the panel: whenever there is a watcher, until it says yes.

Source: the StatusNotifierItem specification, StatusNotifierWatcher.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from trayagent.desktop.connection import BusCallError, Call, Connection

log = logging.getLogger(__name__)

WATCHER = "org.kde.StatusNotifierWatcher"
_PATH = "/StatusNotifierWatcher"

# A watcher that refuses is starting up, or broken for long.
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 300.0

NO_WATCHER = (
    "no panel here shows tray icons; the icon appears as soon as one does "
    "(GNOME: enable the extension AppIndicator and KStatusNotifierItem Support)"
)
NO_HOST = "a panel's tray is registered, but shows nothing yet"


class Registration:
    """One connection's registration; `problem` says why no panel shows the icon."""

    def __init__(self, connection: Connection, *, first_retry_s: float = FIRST_RETRY_S) -> None:
        self.problem: str | None = NO_WATCHER
        self._connection, self._first_retry_s = connection, first_retry_s
        self._name = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Own the icon's name and register it with each watcher that comes. Raises BusCallError."""
        self._name = await self._own_name()
        for member, problem in (
            ("StatusNotifierHostRegistered", None),
            ("StatusNotifierHostUnregistered", NO_HOST),
        ):
            await self._connection.listen(WATCHER, WATCHER, member, "", partial(self._host_is, problem))
        await self._connection.watch_name(WATCHER, self._watcher_is)

    def close(self) -> None:
        """Stop trying, and give the name back: panels take the icon away then."""
        self.stop()
        if self._name:
            self._connection.release_name(self._name)

    def stop(self) -> None:
        """Stop trying."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _own_name(self) -> str:
        """Own a name as the specification forms it; panels in other namespaces may use the same pid."""
        for count in range(1, 10):
            name = f"org.kde.StatusNotifierItem-{os.getpid()}-{count}"
            if await self._connection.own_name(name):
                return name
        return self._connection.bus.unique_name or ""

    def _watcher_is(self, owner: str | None) -> None:
        self.stop()
        self.problem = NO_WATCHER
        if owner is not None:
            self._task = asyncio.get_running_loop().create_task(self._register(), name="tray registration")
            self._task.add_done_callback(self._ended)

    def _host_is(self, problem: str | None, _: list[object]) -> None:
        if self._task is None or self._task.done():  # before that, the answer says it
            self.problem = problem

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"the tray icon's registration failed: {error!r}"
            log.error("the tray icon's registration failed", exc_info=error)

    async def _register(self) -> None:
        retry_s, register = self._first_retry_s, Call(WATCHER, _PATH, WATCHER, "RegisterStatusNotifierItem")
        while True:
            try:
                await self._connection.call(register, "s", [self._name])
            except BusCallError as e:
                problem = f"the panel's tray refuses the icon: {e}"
                if problem != self.problem:
                    log.warning("%s", problem)
                self.problem = problem
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LAST_RETRY_S)
            else:
                self.problem = await self._why_unseen()
                return

    async def _why_unseen(self) -> str | None:
        """Return why no host shows what the watcher knows; a watcher that cannot say is believed to."""
        get = Call(WATCHER, _PATH, "org.freedesktop.DBus.Properties", "Get")
        try:
            (answer,) = await self._connection.call(
                get, "ss", [WATCHER, "IsStatusNotifierHostRegistered"], answer="v"
            )
        except BusCallError as e:
            log.info("%s does not say whether it shows icons: %s", WATCHER, e)
            return None
        return NO_HOST if answer.value is False else None
