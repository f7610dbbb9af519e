"""Opens a short connection to the system bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from trayagent.net.vpn.networkmanager_bus import Bus

CONNECT_S = 2.5


class BusUnusableError(Exception):
    """The bus rejects the connection, does not answer, or does not exist."""


@asynccontextmanager
async def system_bus(env: Mapping[str, str]) -> AsyncIterator[Bus]:
    """Connect, and disconnect at the end of the block. Raises BusUnusableError, also for errors inside the block."""
    from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

    try:
        async with asyncio.timeout(CONNECT_S):
            bus = await Bus.open(env.get("DBUS_SYSTEM_BUS_ADDRESS"), lambda _: None)
    except (OSError, EOFError, TimeoutError, AuthError, DBusError, InvalidAddressError) as error:
        raise BusUnusableError(str(error) or "it does not answer") from error
    try:
        yield bus
    except (OSError, EOFError, DBusError) as error:
        raise BusUnusableError(str(error) or "it closed the connection") from error
    finally:
        bus.close()
