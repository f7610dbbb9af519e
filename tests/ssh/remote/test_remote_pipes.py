"""A pipe of a session on the server, read within the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os

from trayagent.ssh.remote.pipes import chunks


def test_a_reader_that_is_cancelled_as_data_arrives_causes_no_error() -> None:
    """If a reader is cancelled at the moment when data arrives, the loop reports no error."""
    said: list[object] = []

    async def read_and_cancel() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context))
        near, far = os.pipe()
        try:
            task = asyncio.ensure_future(anext(chunks(near)))
            await asyncio.sleep(0)
            os.write(far, b"x")
            loop.call_soon(task.cancel)  # runs before the loop checks the pipe
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            os.close(near)
            os.close(far)

    asyncio.run(read_and_cancel())
    assert not said
