"""Gives each ssh master a scope of systemd's user manager, so that it outlives the agent.

Without a scope, a master stays in the control group in which the agent runs. If the agent's unit file disappears,
systemd forgets `KillMode=process` and ends everything in that group. When the agent restarts, systemd logs each process
that is left in the group. And if the kernel kills the whole group for lack of memory, the masters die, too.

Source: org.freedesktop.systemd1(5), *Manager*, StartTransientUnit; systemd.scope(5), systemd-escape(1).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trayagent.desktop.bus_connection import BusCallError, Call, Connection
from trayagent.desktop.scopes.linux_unit import beside_us, groups_of
from trayagent.desktop.session_bus import session_bus_address

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

log = logging.getLogger(__name__)

WITHIN_S = 0.050  # how long a new ssh waits at most; an idle manager takes 2 to 5 ms
CONNECT_S = 1.0  # at the agent's start, in parallel with everything else
SLOW_IN_A_ROW = 3  # a busy machine may be late once
PAUSE_S = 600.0  # do not use a manager that is missing or late repeatedly: recoveries must not wait for it
_POLL_S = 0.0005
_JOINS_POLL_S = 0.02  # only at the agent's start, for CONNECT_S at most
_STOP_US = (
    5_000_000  # SIGTERM ends ssh at the end of the session; an ssh that hangs must not delay a shutdown
)
_NAME_MAX = 255
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")

_SYSTEMD = "org.freedesktop.systemd1"
_OWNER = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner")
_NO_OWNER = "org.freedesktop.DBus.Error.NameHasNoOwner"
_START = Call(_SYSTEMD, "/org/freedesktop/systemd1", f"{_SYSTEMD}.Manager", "StartTransientUnit")


def manager_bus_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the bus on which systemd's user manager is, or None.

    Its socket is in the runtime directory, even if the session uses another bus.
    """
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and (path := Path(folder, "bus")).exists():
        return f"unix:path={path}"
    return session_bus_address(environment)


def manager_runs(environment: Mapping[str, str] = os.environ) -> bool:
    """Report whether systemd runs a manager for this user, on the bus or not."""
    folder = environment.get("XDG_RUNTIME_DIR")
    return bool(folder) and Path(folder or "", "systemd", "private").exists()


class Scopes:
    """Requests scopes from systemd's user manager. Without a manager it does nothing, and no login waits."""

    def __init__(
        self,
        address: Callable[[], str | None] = manager_bus_address,
        groups: Callable[[int], str] = groups_of,
        runs: Callable[[], bool] = manager_runs,
    ) -> None:
        self._address = address
        self._groups = groups
        self._runs = runs
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._not_before = 0.0
        self._slow = 0
        self._problem = ""

    @property
    def ready(self) -> bool:
        """Whether a new ssh should wait for its scope."""
        return time.monotonic() >= self._not_before and self._address() is not None

    @property
    def connected(self) -> bool:
        """Whether the bus is connected."""
        return self._connection is not None and self._connection.bus.connected

    async def open(self) -> None:
        """Connect before the first master starts. Then move masters out of the agent's control group. Never raises."""
        if self._address() is None:
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._until_the_manager_is_on_the_bus(await self._connected())
        except _errors() as error:
            self._failed(error)
            return
        left = beside_us()
        if left and await self.move_out(left):
            log.info("masters that an earlier agent left beside this one have a scope of their own: %s", left)

    async def _until_the_manager_is_on_the_bus(self, connection: Connection) -> None:
        """Return when the manager owns its name. Raise BusCallError if no manager runs.

        The agent is often the first client after a login, so that systemd starts the bus for it. The manager joins this
        bus some milliseconds later.
        """
        while True:
            try:
                await connection.call(_OWNER, "s", [_SYSTEMD], answer="s")
            except BusCallError as error:
                if error.name != _NO_OWNER or not self._runs():
                    raise
            else:
                return
            await asyncio.sleep(_JOINS_POLL_S)

    async def take(self, host: str, pid: int) -> bool:
        """Move a new master's process into its own scope, and return whether that worked within WITHIN_S."""
        return await self._move(scope_name(host, pid), f"ssh connection to {host}, kept by trayagent", [pid])

    async def take_relay(self, pid: int) -> bool:
        """Move the near relay's process into its own scope, and return whether that worked. No login waits for it."""
        name = scope_name("roaming", pid)
        return await self._move(name, "ssh sessions that roam, kept by trayagent", [pid], within_s=CONNECT_S)

    async def move_out(self, pids: Sequence[int]) -> bool:
        """Move processes that started without a scope into a common scope, and return whether that worked."""
        name = scope_name("earlier", min(pids))
        return await self._move(name, "ssh connections kept by trayagent", pids, within_s=CONNECT_S)

    async def close(self) -> None:
        """Leave the bus."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            connection.bus.disconnect()

    async def _move(
        self, name: str, description: str, pids: Sequence[int], within_s: float = WITHIN_S
    ) -> bool:
        try:
            async with asyncio.timeout(within_s):
                connection = await self._connected()
                await connection.call(_START, *_start(name, description, pids), answer="o", timeout_s=None)
                while not all(name in self._groups(pid) for pid in pids):  # noqa: ASYNC110  # job signals would wake an idle agent
                    await asyncio.sleep(_POLL_S)
        except _errors() as error:
            self._failed(error)
            return False
        self._slow = 0
        return True

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is not None and self.connected:
                return self._connection
            await self.close()
            self._connection = Connection(await _connect(self._address()))
            return self._connection

    def _failed(self, error: Exception) -> None:
        """Continue without a scope. If the manager is late repeatedly, or missing, do not use it for a while."""
        answered = isinstance(error, BusCallError) and error.name.startswith(f"{_SYSTEMD}.")
        self._slow = self._slow + 1 if isinstance(error, TimeoutError) else 0
        if self._slow >= SLOW_IN_A_ROW or not (answered or self._slow):
            self._not_before = time.monotonic() + PAUSE_S
        problem = str(error) or "systemd's user manager did not answer in time"
        if problem != self._problem:
            log.info("ssh masters get no scope of their own: %s", problem)
        self._problem = problem


def scope_name(host: str, number: int) -> str:
    """Return the unit name of a master's scope.

    It contains the host, escaped like systemd-escape(1), and the pid of the ssh, which makes it unique.
    """
    start, end = "trayagent-", f"-{number}.scope"
    escaped = ""
    for n, sign in enumerate(host):
        plain = sign in _PLAIN and not (n == 0 and sign == ".")
        one = sign if plain else "".join(f"\\x{byte:02x}" for byte in os.fsencode(sign))
        if len(start) + len(escaped) + len(one) + len(end) > _NAME_MAX:
            break
        escaped += one
    return f"{start}{escaped}{end}"


def _start(name: str, description: str, pids: Sequence[int]) -> tuple[str, list[object]]:
    """Return the D-Bus signature and the body of StartTransientUnit for a scope with these processes."""
    from dbus_fast import Variant

    properties = [
        ["Description", Variant("s", description)],
        ["Slice", Variant("s", "app.slice")],
        ["CollectMode", Variant("s", "inactive-or-failed")],
        ["TimeoutStopUSec", Variant("t", _STOP_US)],
        ["PIDs", Variant("au", list(pids))],
    ]
    return "ssa(sv)a(sa(sv))", [name, "fail", properties, []]


async def _connect(address: str | None) -> MessageBus:
    from dbus_fast.aio import MessageBus

    if address is None:
        raise FileNotFoundError("no bus of a user manager is here")
    bus = MessageBus(address)
    try:
        return await bus.connect()
    except BaseException:
        bus.disconnect()
        raise


def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that mean: there is no bus, or no systemd on it, or it answers too late."""
    from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

    return (OSError, EOFError, TimeoutError, AuthError, DBusError, InvalidAddressError, BusCallError)
