"""One connection to the session bus for the tray and the notifications; it reconnects when the bus dies."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from trayagent.desktop.bus_connection import CALL_TIMEOUT_S, BusCallError, Connection

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

log = logging.getLogger(__name__)

NOT_TRIED = "the session bus was not tried yet"

# If the bus dies, it is being restarted, or the user has logged out. So retry soon at first, then rarely.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 300.0


class BusUser(Protocol):
    """An object that uses the bus. SessionBus calls it at the start and at the end of each connection."""

    async def on_bus(self, connection: Connection) -> None:
        """Use this connection from now on. SessionBus logs a BusCallError, which does not affect the other users."""

    def off_bus(self, reason: str) -> None:
        """Forget the connection, because it has ended. `reason` is for the user."""


def session_bus_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the session bus, or None if the address is unknown.

    In a systemd user unit, DBUS_SESSION_BUS_ADDRESS may be missing. Then the bus is at a fixed path in XDG_RUNTIME_DIR.
    """
    if address := environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and (path := Path(folder, "bus")).exists():
        return f"unix:path={path}"
    return None


def session_bus_addresses(environment: Mapping[str, str] = os.environ) -> list[str | None]:
    """Return the addresses to try, the most likely first."""
    return [session_bus_address(environment)]


def session_bus_socket(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the path of the session bus's socket, or None if its address is no path.

    If the file exists, the bus is running.
    """
    address = environment.get("DBUS_SESSION_BUS_ADDRESS", "")
    if found := re.match(r"unix:(?:[^,;]*,)*path=([^,;]+)", address):
        return Path(unquote(found[1]))  # D-Bus Specification, *Server Addresses*
    folder = environment.get("XDG_RUNTIME_DIR")
    return Path(folder, "bus") if folder and not address else None


class SessionBus:
    """Keeps one connection to the session bus; `problem` says why there is none.

    After a bus dies, it reconnects with a back-off. If there has not been a bus yet, it sleeps until `nudge`, and then
    tries again.
    """

    def __init__(
        self,
        users: Sequence[BusUser],
        *,
        addresses: Callable[[], Sequence[str | None]] = session_bus_addresses,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self.problem: str | None = NOT_TRIED
        self.connection: Connection | None = None
        self._users, self._addresses, self._first_retry_s = users, addresses, first_retry_s
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to connect, in the running event loop. Never raises."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="session bus")
            self._task.add_done_callback(self._ended)

    def nudge(self) -> None:
        """Try to connect at once, for example after a login: the session bus may exist now."""
        self._nudged.set()

    async def close(self) -> None:
        """Disconnect, and wait until that is done."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"the session bus failed: {error!r}"
            log.error("the session bus failed", exc_info=error)

    async def _keep(self) -> None:
        was_there, retry_s = False, self._first_retry_s
        while True:
            self._nudged.clear()
            try:
                connection = await self._connect()
                was_there, retry_s = True, self._first_retry_s
                self.problem = await self._use(connection)
            except _errors() as e:
                self.problem = f"no session bus: {e}"
            log.info("%s", self.problem)
            for user in self._users:
                user.off_bus(self.problem)
            await self._pause(retry_s if was_there else None)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _connect(self) -> MessageBus:
        """Connect to the first address that works. If none does, raise the error of the first one."""
        failed: Exception | None = None
        for address in dict.fromkeys(filter(None, self._addresses())):
            try:
                return await self._connect_to(address)
            except _errors() as e:
                failed = failed or e
        if failed is not None:
            raise failed
        raise FileNotFoundError("DBUS_SESSION_BUS_ADDRESS is not set and $XDG_RUNTIME_DIR/bus is missing")

    async def _connect_to(self, address: str) -> MessageBus:
        from dbus_fast.aio import MessageBus

        bus = MessageBus(address)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await bus.connect()
        except BaseException:
            bus.disconnect()
            raise

    async def _use(self, bus: MessageBus) -> str:
        """Give the users the connection until the bus dies. Return the reason."""
        self.connection = connection = Connection(bus)
        self.problem = None
        users = [asyncio.create_task(self._tell(u, connection), name=f"bus: {u!r}") for u in self._users]
        try:
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast has no types here
        except (OSError, EOFError) as e:
            return f"the session bus went away ({e!r})"
        finally:
            self.connection = None
            for task in users:
                task.cancel()
            await asyncio.gather(*users, return_exceptions=True)
            connection.close()
            bus.disconnect()
        return "the session bus went away"

    async def _tell(self, user: BusUser, connection: Connection) -> None:
        try:
            await user.on_bus(connection)
        except BusCallError as e:
            log.warning("%r on the session bus: %s", user, e)
        except Exception:  # a bug in one user must not close the connection of the others
            log.exception("%r on the session bus", user)


def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that dbus-fast may raise while it connects."""
    from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

    return (OSError, EOFError, TimeoutError, AuthError, DBusError, InvalidAddressError)
