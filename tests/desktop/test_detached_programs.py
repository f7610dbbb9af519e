from __future__ import annotations

import asyncio
import subprocess

import pytest

from trayagent.desktop import detached_programs as started


def test_a_cancellation_is_kept_when_the_program_ends_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cancellation is kept if the program ends at that moment. asyncio.wait_for of Python 3.11 would lose it."""

    async def body() -> None:
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def reaped(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
            process.wait()
            return ended

        monkeypatch.setattr(started, "_reaped", reaped)
        starting = asyncio.ensure_future(started.start(["true"], {}, at_once_s=20.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.set_result(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(body())
