from __future__ import annotations

import asyncio
import logging

import pytest

from trayagent.agent.tasks import Tasks


async def fail() -> None:
    """Raise what nobody expects."""
    raise RuntimeError("nobody expects this")


def test_an_exception_that_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A task's exception is seen by its owner, with the task's name."""

    async def body() -> None:
        tasks = Tasks()
        tasks.start("a dial", fail())
        await tasks.finished(["a dial"])
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(body())
    assert "a dial failed" in caplog.text
    assert "nobody expects this" in caplog.text


def test_two_tasks_of_one_name_both_run_and_end() -> None:
    """A name that is taken is made unique; closing ends them all."""

    async def body() -> int:
        tasks = Tasks()
        first = tasks.start("wait", asyncio.sleep(100, None))
        second = tasks.start("wait", asyncio.sleep(100, None))
        assert first.get_name() != second.get_name()
        assert tasks.running("wait")
        await tasks.close()
        return sum(t.cancelled() for t in (first, second))

    assert asyncio.run(body()) == 2
