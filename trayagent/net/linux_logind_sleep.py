"""Receive logind's announcements of suspend and wake from the system bus.

Source: org.freedesktop.login1(5), signal PrepareForSleep(b): true before a suspend, false after it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trayagent.net.hints import AboutToSleep, Hint, Woke
from trayagent.net.linux_wake_from_clock import suspended_s

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

_NAME = "org.freedesktop.login1"
_RULE = f"type='signal',sender='{_NAME}',interface='{_NAME}.Manager',member='PrepareForSleep'"

# The bus dies during an upgrade or a shutdown of the machine. Retry soon at first, then rarely.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
# A working bus answers within a millisecond.
BUS_TIMEOUT_S = 5.0


def system_bus_exists() -> bool:
    """Report whether this machine has a system bus."""
    return "DBUS_SYSTEM_BUS_ADDRESS" in os.environ or Path("/run/dbus/system_bus_socket").exists()


class LinuxLogind:
    """Watches for suspend and wake; without a bus or logind it sends no hints, and `problem` says why.

    If a working bus dies, the watcher reconnects with a back-off. If there never was a bus, it gives up.
    """

    def __init__(
        self,
        bus_address: str | None = None,
        *,
        first_retry_s: float = FIRST_RETRY_S,
        suspended: Callable[[], float] = suspended_s,
    ) -> None:
        self.problem: str | None = None
        self.listening = asyncio.Event()
        """Set while signals are received."""
        self._address, self._first_retry_s, self._suspended = bus_address, first_retry_s, suspended
        self._hint: Callable[[Hint], None] = lambda _: None
        self._task: asyncio.Task[None] | None = None
        self._before_s: float | None = None

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch on the running loop; never raises, because it connects later."""
        self._hint = hint
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="logind watch")
        self._task.add_done_callback(self._ended)

    def close(self) -> None:
        """Stop watching."""
        self._hint = lambda _: None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"the watch on logind failed: {error!r}"

    async def _watch(self) -> None:
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

        was_there, retry_s = False, self._first_retry_s
        while True:
            try:
                bus = await self._connect()
                was_there, retry_s = True, self._first_retry_s
                await self._listen(bus)
                self.problem = "the system bus went away"
            except (OSError, EOFError, AuthError, DBusError, InvalidAddressError, TimeoutError) as e:
                self.problem = f"no system bus: {e}" if not was_there else f"the system bus went away: {e}"
            if not was_there:
                return
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _connect(self) -> MessageBus:
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus

        bus = MessageBus(self._address, bus_type=BusType.SYSTEM)
        try:
            async with asyncio.timeout(BUS_TIMEOUT_S):
                return await bus.connect()
        except BaseException:
            bus.disconnect()
            raise

    async def _listen(self, bus: MessageBus) -> None:
        """Receive signals until the bus dies."""
        bus.add_message_handler(self._message)
        try:
            async with asyncio.timeout(BUS_TIMEOUT_S):
                await _call_bus(bus, "AddMatch", _RULE)
                has_logind = await _call_bus(bus, "NameHasOwner", _NAME)
            # Keep the match rule, so that the signals of a logind that starts later arrive, too.
            self.problem = None if has_logind else "there is no logind on the system bus to announce suspend"
            self.listening.set()
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # untyped in dbus-fast
        finally:
            self.listening.clear()
            bus.disconnect()

    def _message(self, message: Message) -> None:
        if (message.member, message.interface, message.signature) != (
            "PrepareForSleep",
            f"{_NAME}.Manager",
            "b",
        ):
            return
        self.problem = None
        if message.body[0]:
            self._before_s = self._suspended()
            self._hint(AboutToSleep())
            return
        asleep_s = None if self._before_s is None else max(0.0, self._suspended() - self._before_s)
        self._before_s = None
        self._hint(Woke(asleep_s))


async def _call_bus(bus: MessageBus, member: str, text: str) -> bool:
    """Call the bus itself; return its boolean answer, False without one. Raises DBusError."""
    from dbus_fast import Message, MessageType
    from dbus_fast.errors import DBusError

    reply = await bus.call(
        Message(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member=member,
            signature="s",
            body=[text],
        )
    )
    if reply is None:
        return False
    if reply.message_type is MessageType.ERROR:
        raise DBusError(reply.error_name or "", str(reply.body))
    return bool(reply.body and reply.body[0])
