"""Wakes are detected from the kernel's clocks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from trayagent.net.hints import Hint, Woke
from trayagent.net.linux_wake_from_clock import LinuxClock, TimerFd, suspended_s


class FakeTimer:
    """A fake of the kernel's timer. `jump` simulates that the clock is set."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        self.armed = 0

    def jump(self) -> None:
        """Cancel the timer as the kernel does when the wall clock is set."""
        os.write(self.writing, b"x")

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.reading  # type: ignore[no-any-return, unused-ignore]  # Linux only

    def arm(self) -> None:
        """Count the calls."""
        self.armed += 1

    def was_cancelled(self) -> bool:
        """Consume the event."""
        return bool(os.read(self.reading, 8))

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reading)
        os.close(self.writing)


Body = Callable[[LinuxClock, FakeTimer, list[Hint], list[float]], Awaitable[None]]


def run(body: Body) -> None:
    """Run the body with a watcher on a fake timer. The last list holds the values of the suspended clock."""

    async def inner() -> None:
        timer, hints, asleep = FakeTimer(), list[Hint](), [100.0]
        clock = LinuxClock(lambda: timer, lambda: asleep[-1])
        clock.start(hints.append)
        try:
            await body(clock, timer, hints, asleep)
        finally:
            clock.close()

    asyncio.run(inner())


async def turns() -> None:
    """Let the loop poll its descriptors once."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_wake_tells_how_long_the_machine_slept() -> None:
    """Each jump of the wall clock after a suspend gives one hint with the duration."""

    async def body(_: LinuxClock, timer: FakeTimer, hints: list[Hint], asleep: list[float]) -> None:
        for total in (160.0, 190.0):
            asleep.append(total)
            timer.jump()
            await turns()
        assert hints == [Woke(60.0), Woke(30.0)]
        assert timer.armed == 3

    run(body)


@pytest.mark.parametrize("grown_s", [0.0, 0.4])
def test_a_clock_that_was_merely_set_is_no_wake(grown_s: float) -> None:
    """NTP's step and a user's `date -s` leave the suspended time unchanged, and the watcher continues."""

    async def body(_: LinuxClock, timer: FakeTimer, hints: list[Hint], asleep: list[float]) -> None:
        asleep.append(asleep[-1] + grown_s)
        timer.jump()
        await turns()
        assert hints == []
        assert timer.armed == 2
        asleep.append(asleep[-1] + 5.0)
        timer.jump()
        await turns()
        assert hints == [Woke(5.0)]

    run(body)


def test_after_close_nothing_is_reported() -> None:
    """No hint follows `close`, and closing twice is allowed."""

    async def body(clock: LinuxClock, timer: FakeTimer, hints: list[Hint], asleep: list[float]) -> None:
        asleep.append(500.0)
        timer.jump()
        clock.close()
        clock.close()
        await turns()
        assert hints == []

    run(body)


def test_the_kernels_timer_is_armed_and_quiet() -> None:
    """The real descriptor accepts the flags and is not readable while the clock is not set."""

    async def body() -> None:
        timer = TimerFd()
        try:
            timer.arm()
            assert not timer.was_cancelled()
        finally:
            timer.close()

    asyncio.run(body())


def test_the_real_watch_starts_and_stops() -> None:
    """The watcher works with the kernel's own timer and clocks."""

    async def body() -> None:
        hints: list[Hint] = []
        clock = LinuxClock()
        clock.start(hints.append)
        await turns()
        clock.close()
        assert hints == []

    asyncio.run(body())
    assert suspended_s() > -0.1
