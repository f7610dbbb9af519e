"""The pipes of a session on the far side, read without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator


async def chunks(fd: int) -> AsyncIterator[bytes]:
    """Yield what comes through a pipe until its end; it is made non-blocking, closing stays the caller's."""
    os.set_blocking(fd, False)
    loop = asyncio.get_running_loop()
    while True:
        readable = loop.create_future()
        loop.add_reader(fd, _tell, readable)
        try:
            await readable
        finally:
            loop.remove_reader(fd)
        data = os.read(fd, 4096)
        if not data:
            return
        yield data


def _tell(readable: asyncio.Future[None]) -> None:
    if not readable.done():  # whoever waits was cancelled a moment before
        readable.set_result(None)
