"""Starts programs at a click of the user: a terminal, a browser, an editor. They may outlive the agent."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Mapping, Sequence

AT_ONCE_S = 0.5
"""A program that cannot start (for example without a display) ends within this time."""


async def start(words: Sequence[str], env: Mapping[str, str], at_once_s: float = AT_ONCE_S) -> int | None:
    """Start a program. Return its exit status if it ends within `at_once_s`, None if it keeps running.

    Raises OSError if the program cannot be started.
    """
    null = subprocess.DEVNULL
    # Do not use asyncio's subprocess. It kills a child that still runs when the interpreter ends.
    process = subprocess.Popen(  # noqa: ASYNC220  # this takes only a millisecond
        words, stdin=null, stdout=null, stderr=null, env=dict(env), start_new_session=True
    )
    try:
        async with asyncio.timeout(at_once_s):
            return await _reaped(process)
    except TimeoutError:
        return None


def _reaped(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Return a future of the exit status. A thread waits for the process, to prevent a zombie."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def tell(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    def wait() -> None:
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: no caller waits any more
            loop.call_soon_threadsafe(tell, code)

    threading.Thread(target=wait, name=f"started {process.pid}", daemon=True).start()
    return ended
