"""Check a server's banner: connect by TCP, wait for the banner of an SSH server, and go no further."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


async def banner_answers(
    peer: str, port: int, *, deadline_s: float, established: Callable[[], None] = lambda: None
) -> bool:
    """Report whether an SSH server answers at this address within the deadline. Raise OSError if the connection fails.

    Call `established` as soon as the TCP connection is established.
    """
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(peer, port)
            established()
            try:
                return (await reader.readline()).startswith(b"SSH-")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return False
