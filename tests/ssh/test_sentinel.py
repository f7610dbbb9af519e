"""The sentinel of a real master: which echo counts as an answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from tests.ssh.conftest import StartMaster
from trayagent.ssh.master.sentinel import Sentinel


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition is true. Fail after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # no event reports this
            await asyncio.sleep(0.01)


def test_the_echo_of_a_small_line_before_a_large_one_is_no_answer(start_master: StartMaster) -> None:
    """After small, large and small lines to a stopped server, only echoes from the large line on count."""

    async def asked() -> int:
        sentinel = await Sentinel.start(str(start_master().path))
        assert sentinel is not None
        assert sentinel.session is not None
        answers: list[None] = []
        sentinel.answered = lambda: answers.append(None)
        try:
            assert sentinel.send_line()
            await until(lambda: len(answers) == 1)
            far = sentinel.session.pid
            os.kill(far, signal.SIGSTOP)
            try:
                assert sentinel.send_line()
                await asyncio.sleep(0.1)  # so that the next line is in a separate packet
                assert sentinel.send_line(large=True)
            finally:
                os.kill(far, signal.SIGCONT)
            await until(lambda: len(answers) == 2)
            assert sentinel.send_line()
            await until(lambda: len(answers) == 3)
            return len(answers)
        finally:
            sentinel.close()

    assert asyncio.run(asked()) == 3
