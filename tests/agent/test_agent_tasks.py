from __future__ import annotations

import asyncio
import logging

import pytest

from trayagent.agent.tasks import Tasks


async def fail() -> None:
    """Raise an unexpected exception."""
    raise RuntimeError("an unexpected error")


def test_an_exception_of_an_unawaited_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The exception of a task that is not awaited is logged with the task's name."""

    async def body() -> None:
        tasks = Tasks()
        tasks.start("a dial", fail())
        await tasks.finished(["a dial"])
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(body())
    assert "a dial failed" in caplog.text
    assert "an unexpected error" in caplog.text


def test_two_tasks_of_one_name_both_run_and_end() -> None:
    """A second task of the same name gets another name. Closing ends both tasks."""

    async def body() -> int:
        tasks = Tasks()
        first = tasks.start("wait", asyncio.sleep(100, None))
        second = tasks.start("wait", asyncio.sleep(100, None))
        assert first.get_name() != second.get_name()
        assert tasks.running("wait")
        await tasks.close()
        return sum(t.cancelled() for t in (first, second))

    assert asyncio.run(body()) == 2
