"""Read the pipes of a session on the server without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator


async def chunks(fd: int) -> AsyncIterator[bytes]:
    """Yield the data from a pipe until its end; make the pipe non-blocking. The caller must close it."""
    os.set_blocking(fd, False)
    loop = asyncio.get_running_loop()
    while True:
        readable = loop.create_future()
        loop.add_reader(fd, _set_readable, readable)
        try:
            await readable
        finally:
            loop.remove_reader(fd)
        data = os.read(fd, 4096)
        if not data:
            return
        yield data


def _set_readable(readable: asyncio.Future[None]) -> None:
    if not readable.done():  # the waiting task may have been cancelled just before
        readable.set_result(None)
