"""A minimal StatusNotifierWatcher for time measurements.

dbus-fast reads the annotations when the class is created, so this module must not postpone their evaluation.
"""

import asyncio
import time

from dbus_fast import PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusInt32, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

NAME, PATH = "org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher"


class Watcher(ServiceInterface):
    """A watcher that owns the D-Bus name, and records when an item registers."""

    def __init__(self, bus: MessageBus) -> None:
        super().__init__(NAME)
        self._bus = bus
        self._seen: asyncio.Queue[float] = asyncio.Queue()

    @classmethod
    async def on(cls, address: str) -> "Watcher":
        """Return a watcher on this bus."""
        bus = await MessageBus(address).connect()
        made = cls(bus)
        bus.export(PATH, made)
        await bus.request_name(NAME)
        return made

    async def registered(self) -> float:
        """Wait for the next item to register. Return the monotonic time in seconds."""
        async with asyncio.timeout(20):
            return await self._seen.get()

    def leave(self) -> None:
        """Disconnect from the bus."""
        self._bus.disconnect()

    @dbus_method()
    def RegisterStatusNotifierItem(self, service: DBusStr) -> None:  # noqa: ARG002, N802  # D-Bus' own name
        """Record the time."""
        self._seen.put_nowait(time.monotonic())

    @dbus_property(access=PropertyAccess.READ)
    def IsStatusNotifierHostRegistered(self) -> DBusBool:  # noqa: N802  # D-Bus' own name
        """Return True: there is a panel."""
        return True

    @dbus_property(access=PropertyAccess.READ)
    def ProtocolVersion(self) -> DBusInt32:  # noqa: N802  # D-Bus' own name
        """Return 0, the only version."""
        return 0
