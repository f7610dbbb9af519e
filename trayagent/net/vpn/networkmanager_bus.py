"""Connect to the system bus, to query NetworkManager and receive its signals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trayagent.net.vpn import networkmanager_constants as words

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

# How long to wait for an answer. The bus needs a millisecond, but NetworkManager may be busy with a scan or a slow
# disk.
TIMEOUT_S = 10.0

_DBUS = "org.freedesktop.DBus"
_SENT_BY_IT = f"type='signal',sender='{words.NAME}'"
# Receive only the signals in use: a Wi-Fi scan changes dozens of objects, and each signal would wake us.
RULES = (
    f"{_SENT_BY_IT},path='{words.ROOT}',interface='{words.PROPERTIES}',arg0='{words.NAME}'",
    f"{_SENT_BY_IT},path_namespace='{words.ACTIVE_PATHS[:-1]}',interface='{words.PROPERTIES}'",
    f"{_SENT_BY_IT},interface='{words.ACTIVE}',member='StateChanged'",
    # A device's own properties change rarely. Its statistics and scans belong to other interfaces.
    f"{_SENT_BY_IT},path_namespace='{words.DEVICE_PATHS[:-1]}',interface='{words.PROPERTIES}',arg0='{words.DEVICE}'",
    f"{_SENT_BY_IT},path='{words.OBJECTS}',interface='{words.OBJECT_MANAGER}',arg0path='{words.ACTIVE_PATHS}'",
    # A plug-in, which is a separate process, sends this signal.
    f"type='signal',interface='{words.PLUGIN}',member='Failure'",
    # NetworkManager itself and its plug-ins, whose names begin with NetworkManager's name.
    f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg0namespace='{words.NAME}'",
)


class Bus:
    """A connection that receives the signals of `RULES`; open it with `Bus.open`, and close it."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    async def open(cls, address: str | None, hear: Callable[[Message], None]) -> Bus:
        """Connect; raises OSError, EOFError, TimeoutError or one of dbus-fast's errors."""
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus
        from dbus_fast.auth import UID_NOT_SPECIFIED, AuthExternal

        # Let the kernel identify this process to the bus. In a container, the process may not know its uid outside.
        bus = MessageBus(address, bus_type=BusType.SYSTEM, auth=AuthExternal(UID_NOT_SPECIFIED))
        made = cls(bus)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await bus.connect()
            bus.add_message_handler(hear)
            for rule in RULES:
                await made.call_bus("AddMatch", rule)
        except BaseException:
            bus.disconnect()
            raise
        return made

    def close(self) -> None:
        """Disconnect."""
        self._bus.disconnect()

    async def died(self) -> None:
        """Return (or raise EOFError, OSError) when the bus is gone."""
        await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # untyped in dbus-fast

    async def call_bus(self, member: str, *texts: str) -> list[Any]:
        """Call the bus itself and return its answer; raises DBusError, TimeoutError."""
        return await self._call(_DBUS, "/org/freedesktop/DBus", _DBUS, member, "s" * len(texts), list(texts))

    async def owner(self, name: str) -> str | None:
        """Return the unique bus name of the process that owns `name`, None without an owner; raises TimeoutError."""
        from dbus_fast.errors import DBusError

        try:
            answer = await self.call_bus("GetNameOwner", name)
        except DBusError:
            return None
        return answer[0] if answer and isinstance(answer[0], str) else None

    async def call_method(
        self, path: str, interface: str, member: str, signature: str = "", body: list[Any] | None = None
    ) -> list[Any]:
        """Call NetworkManager, but do not start it, and return the answer; raises DBusError, TimeoutError."""
        return await self._call(words.NAME, path, interface, member, signature, body or [])

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """Return all properties of an object's interface; raises DBusError, TimeoutError."""
        answer = await self.call_method(path, words.PROPERTIES, "GetAll", "s", [interface])
        return answer[0] if answer and isinstance(answer[0], dict) else {}

    async def _call(
        self, destination: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> list[Any]:
        from dbus_fast import Message, MessageFlag, MessageType
        from dbus_fast.errors import DBusError
        from dbus_fast.unpack import unpack_variants

        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
            flags=MessageFlag.NO_AUTOSTART,
        )
        async with asyncio.timeout(TIMEOUT_S):
            reply = await self._bus.call(message)
        if reply is None:
            return []
        if reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or "", str(reply.body[0]) if reply.body else "")
        return list(unpack_variants(reply.body))
