"""Suspend and wake arrive over a private bus, on which the test plays logind."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from trayagent.net.hints import AboutToSleep, Hint, Woke
from trayagent.net.linux_logind_sleep import LinuxLogind

DEADLINE_S = 20.0  # enough for a machine that runs other tests on two cores
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>"""


class Bus:
    """A private dbus-daemon in place of the system bus."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bus"
        self.address = f"unix:path={self.path}"
        self._config = folder / "bus.conf"
        self._config.write_text(CONFIG.format(path=self.path))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon, and return when it listens."""
        words = ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--nopidfile", "--print-address"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout
        assert self._process.stdout.readline()

    def stop(self) -> None:
        """End the daemon."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None
        self.path.unlink(missing_ok=True)


@pytest.fixture
def bus() -> Iterator[Bus]:
    """Start a private bus."""
    if shutil.which("dbus-daemon") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("dbus-daemon is missing")
        pytest.skip("dbus-daemon is missing")
    folder = Path(tempfile.mkdtemp(prefix="ta-bus-"))
    made = Bus(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder)


class FakeLogind:
    """A fake logind that sends PrepareForSleep."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    async def on(cls, bus: Bus) -> FakeLogind:
        """Take logind's name on this bus."""
        connected = await MessageBus(bus.address).connect()
        await connected.request_name("org.freedesktop.login1")
        return cls(connected)

    async def prepare_for_sleep(self, start: bool) -> None:
        """Announce a suspend, or its end."""
        await self._bus.send(
            Message.new_signal(
                "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForSleep", "b", [start]
            )
        )

    def close(self) -> None:
        """Disconnect from the bus."""
        self._bus.disconnect()


async def until(condition: Callable[[], object], what: str) -> None:
    """Poll with a deadline."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


def run(body: Awaitable[None]) -> None:
    """Run one test's coroutine with a time limit."""

    async def limited() -> None:
        async with asyncio.timeout(3 * DEADLINE_S):
            await body

    asyncio.run(limited())


def test_suspend_and_wake_are_reported_with_the_time_between(bus: Bus) -> None:
    """AboutToSleep comes before the suspend, and Woke with the time asleep after it."""

    async def body() -> None:
        asleep, hints = [7.0], list[Hint]()
        source = LinuxLogind(bus.address, suspended=lambda: asleep[-1])
        logind = await FakeLogind.on(bus)
        source.start(hints.append)
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        assert source.problem is None
        await logind.prepare_for_sleep(start=True)
        await until(lambda: hints, "the suspend is told")
        asleep.append(67.0)
        await logind.prepare_for_sleep(start=False)
        await until(lambda: len(hints) == 2, "the wake is told")
        assert hints == [AboutToSleep(), Woke(60.0)]
        source.close()
        logind.close()

    run(body())


def test_a_wake_without_its_beginning_has_no_duration(bus: Bus) -> None:
    """An agent that was started in between knows that the machine woke, but not how long it slept."""

    async def body() -> None:
        hints: list[Hint] = []
        source, logind = LinuxLogind(bus.address), await FakeLogind.on(bus)
        source.start(hints.append)
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        await logind.prepare_for_sleep(start=False)
        await until(lambda: hints, "the wake is told")
        assert hints == [Woke(None)]
        source.close()
        logind.close()

    run(body())


def test_no_logind_is_a_problem_until_one_speaks(bus: Bus) -> None:
    """Without logind there are no hints, and `problem` gives the reason. A logind that starts later is noticed."""

    async def body() -> None:
        hints: list[Hint] = []
        source = LinuxLogind(bus.address)
        source.start(hints.append)
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        assert source.problem is not None
        assert "no logind" in source.problem
        logind = await FakeLogind.on(bus)
        await logind.prepare_for_sleep(start=True)
        await until(lambda: hints, "the suspend is told")
        assert source.problem is None
        source.close()
        logind.close()

    run(body())


def test_no_bus_is_quiet_and_let_be(tmp_path: Path) -> None:
    """On a machine without a system bus, the watcher does not try again."""

    async def body() -> None:
        hints: list[Hint] = []
        source = LinuxLogind(f"unix:path={tmp_path}/none", first_retry_s=0.001)
        source.start(hints.append)
        task = source._task
        assert task is not None
        await asyncio.wait_for(task, DEADLINE_S)
        assert source.problem is not None
        assert "no system bus" in source.problem
        assert hints == []
        source.close()

    run(body())


def test_a_bus_that_died_is_connected_again(bus: Bus) -> None:
    """After a restart of the bus the watcher continues."""

    async def body() -> None:
        hints: list[Hint] = []
        source = LinuxLogind(bus.address, first_retry_s=0.01)
        source.start(hints.append)
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        bus.stop()
        await until(lambda: not source.listening.is_set(), "the end of the bus is seen")
        assert source.problem is not None
        assert "went away" in source.problem
        bus.start()
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        logind = await FakeLogind.on(bus)
        await logind.prepare_for_sleep(start=True)
        await until(lambda: hints, "the suspend is told")
        source.close()
        logind.close()

    run(body())


def test_a_closed_watch_leaves_no_task(bus: Bus) -> None:
    """Closing the watcher ends its task and its connection."""

    async def body() -> None:
        source = LinuxLogind(bus.address)
        source.start(lambda _: None)
        await asyncio.wait_for(source.listening.wait(), DEADLINE_S)
        task = source._task
        source.close()
        source.close()
        assert task is not None
        await until(task.done, "the task ends")

    run(body())
