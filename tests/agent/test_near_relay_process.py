"""The agent's side of the near relay, with the real relay as a process of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import trayagent
from trayagent.agent.roaming.near_relay_connection import NearRelayConnection, NearRelayError
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.roaming.near_client import near_command, new_token

DEADLINE_S = 20.0


class Listener:
    """A listener that records the near relay's reports."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.lost = 0

    def relay_reported(self, event: dict[str, Any]) -> None:
        """Record the event."""
        self.events.append(event)

    def relay_lost(self) -> None:
        """Count the loss."""
        self.lost += 1


class Shelter:
    """A fake of systemd's scopes, which this machine may not have."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    async def take_relay(self, pid: int) -> bool:
        """Record the pid."""
        self.pids.append(pid)
        return True


made: list[NearRelayProcess] = []


def process_in(folder: Path, shelter: Shelter | None = None) -> NearRelayProcess:
    """Return the object with which an agent controls the near relay in a folder."""
    made.append(NearRelayProcess(folder, shelter))
    return made[-1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short path. Afterwards, end a near relay that still runs in it."""
    with tempfile.TemporaryDirectory(prefix="near-", dir="/tmp") as name:
        yield Path(name)
        while made:
            one = made.pop()
            while (pid := one.running()) is not None:
                os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition is true."""
    limit = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.01)


@asynccontextmanager
async def started(
    folder: Path, listener: Listener | None = None, shelter: Shelter | None = None
) -> AsyncIterator[NearRelayConnection]:
    """Start or find the near relay, and close the connection to it afterwards."""
    connection = await process_in(folder, shelter).start(listener or Listener())
    try:
        yield connection
    finally:
        connection.close()


def test_a_near_relay_is_started_once(folder: Path) -> None:
    """The first request starts the near relay in its own scope and Unix session.

    The next agent finds the same relay.
    """

    async def check() -> None:
        shelter = Shelter()
        async with started(folder, shelter=shelter) as one:
            pid, instance = one.greeting.pid, one.greeting.instance
        assert shelter.pids == [pid]
        assert os.getsid(pid) == pid
        async with started(folder, shelter=shelter) as two:
            assert (two.greeting.pid, two.greeting.instance) == (pid, instance)
        assert shelter.pids == [pid]
        assert {one.name for one in folder.iterdir()} == {
            "near-relay.sock",
            "near-relay.sock.lock",
            "near-relay.log",
        }
        assert (folder / "near-relay.log").stat().st_mode & 0o777 == 0o600

    asyncio.run(check())


def test_two_agents_at_once_start_one_relay(folder: Path) -> None:
    """Two agents that start a relay at the same moment get the same relay."""

    async def check() -> None:
        starts = (process_in(folder).start(Listener()) for _ in range(2))
        one, two = await asyncio.gather(*starts)
        assert one.greeting.instance == two.greeting.instance
        one.close()
        two.close()

    asyncio.run(check())


def test_a_relay_that_carries_something_is_adopted_and_never_ended(folder: Path) -> None:
    """`find` returns a relay with connections, and `quit_if_idle` keeps it. A relay without connections is ended."""

    async def check() -> None:
        process = process_in(folder)
        token = new_token()
        async with started(folder) as first:
            inner = await first.start(token, 60.0, "web01")
            pid = first.greeting.pid
        found = await process.find(Listener())
        assert found is not None and found.greeting.pid == pid
        assert [one["id"] for one in await found.sessions()] == [token[:16]]
        assert not await found.quit_if_idle()
        found.close()
        inner.close()  # a connection ends if its ssh ends before the first attach
        for _ in range(500):
            found = await process_in(folder).find(Listener())
            if found is None:
                break
            found.close()
            await asyncio.sleep(0.01)
        assert found is None
        assert await process_in(folder).find(Listener()) is None

    asyncio.run(check())


def test_a_relay_of_the_earlier_version_goes_on_after_an_upgrade(folder: Path, tmp_path: Path) -> None:
    """After an upgrade removed its program, a relay is adopted by the next agent, and every request still works."""
    shutil.copytree(Path(trayagent.__file__).parent, tmp_path / "trayagent")
    words = near_command(str(folder / "near-relay.sock"))
    words[-2] = str(tmp_path / "trayagent/roaming/near_relay.py")
    with subprocess.Popen(words) as relay:
        limit = time.monotonic() + DEADLINE_S
        while not (folder / "near-relay.sock").exists():
            assert time.monotonic() < limit
            time.sleep(0.01)
        shutil.rmtree(tmp_path / "trayagent")

        async def check() -> None:
            listener = Listener()
            first, second = new_token(), new_token()
            earlier = await NearRelayConnection.connect(folder / "near-relay.sock", listener)
            assert earlier is not None
            inner = await earlier.start(first, 60.0, "web01")
            earlier.close()
            found = await process_in(folder).find(listener)
            assert found is not None and found.greeting.pid == relay.pid
            other = await found.start(second, 60.0, "web02")
            ours, theirs = socket.socketpair()
            theirs.sendall(b'TRAYAGENT-ROAM {"machine": "m", "boot": "b", "error": "unknown"}\n')
            answer = await found.attach(first[:16], (ours.fileno(),), within_s=DEADLINE_S)
            assert (answer["ok"], answer["error"]) == (False, "unknown")
            await found.ask("end", id=first[:16])
            await found.ask("end", id=second[:16])
            await until(lambda: len(listener.events) == 2)
            assert await found.quit_if_idle()
            found.close()
            for one in (inner, other, ours, theirs):
                one.close()

        asyncio.run(check())
        assert relay.wait(DEADLINE_S) == 0


def test_events_and_the_end_of_the_relay_are_reported(folder: Path) -> None:
    """The listener gets one event when a connection ends, and one when the relay is killed."""

    async def check() -> None:
        listener = Listener()
        async with started(folder, listener) as near:
            token = new_token()
            inner = await near.start(token, 60.0, "web01")
            inner.close()
            await until(lambda: listener.events)
            assert [(one["event"], one["id"], one["why"]) for one in listener.events] == [
                ("ended", token[:16], "unused")
            ]
            os.kill(near.greeting.pid, signal.SIGKILL)
            await until(lambda: listener.lost)
            with pytest.raises(NearRelayError) as gone:
                await near.sessions()
            assert gone.value.code == "gone"
            assert listener.lost == 1
            # A dead relay's socket is left behind; the next start replaces it.
            async with started(folder, listener) as other:
                assert other.greeting.pid != near.greeting.pid

    asyncio.run(check())


def test_an_attach_returns_why_it_failed(folder: Path) -> None:
    """A failed attach returns the reason. Other requests are answered while the attach is pending."""

    async def check() -> None:
        async with started(folder) as near:
            token = new_token()
            inner = await near.start(token, 60.0, "web01")
            ours, theirs = socket.socketpair()
            attach = asyncio.create_task(near.attach(token[:16], (ours.fileno(),), within_s=DEADLINE_S))
            await asyncio.sleep(0.05)
            ours.close()
            assert (await near.sessions())[0]["state"] == "attaching"
            theirs.sendall(b'TRAYAGENT-ROAM {"machine": "m", "boot": "b", "error": "unknown"}\n')
            answer = await attach
            assert (answer["ok"], answer["error"], answer["machine"]) == (False, "unknown", "m")
            theirs.close()
            inner.close()

    asyncio.run(check())


def test_a_cancelled_request_disturbs_no_other(folder: Path) -> None:
    """After a cancelled start, its descriptor is closed, and the next start gets its own descriptor."""

    async def check() -> None:
        async with started(folder) as near:
            first = asyncio.create_task(near.start(new_token(), 60.0, "web01"))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            inner = await near.start(new_token(), 60.0, "web02")
            assert len(await near.sessions()) <= 2
            assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208
            inner.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b'{"relay": "near", "v": 9, "oldest": 8, "instance": "i", "pid": 1}\n', "version"),
        (b'{"relay": "far"}\n', "foreign"),
        (b"[1]\n", None),
        (b"\xff\xfe\n", None),
        (b"", None),
    ],
)
def test_another_program_at_the_socket_is_not_used(folder: Path, said: bytes, code: str | None) -> None:
    """A relay that only speaks a later version is refused with a reason. A program that does not greet is no relay."""

    async def check() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            writer.close()
            await writer.wait_closed()
            served.set()

        served = asyncio.Event()
        path = folder / "near-relay.sock"
        server = await asyncio.start_unix_server(serve, path)
        if code is None:
            assert await process_in(folder).find(Listener()) is None
        else:
            with pytest.raises(NearRelayError) as refused:
                await process_in(folder).find(Listener())
            assert refused.value.code == code
        await served.wait()
        server.close()
        path.unlink(missing_ok=True)

    asyncio.run(check())


def test_a_newer_relay_is_asked_in_our_version(folder: Path) -> None:
    """A relay that also speaks a newer version gets requests in our version."""

    async def check() -> None:
        asked: list[dict[str, Any]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'{"relay": "near", "v": 7, "oldest": 1, "instance": "i", "pid": 1}\n')
            while line := await reader.readline():
                asked.append(json.loads(line))
                writer.write(json.dumps({"ok": True, "tag": asked[-1]["tag"]}).encode() + b"\n")
            writer.close()
            await writer.wait_closed()
            served.set()

        served = asyncio.Event()
        path = folder / "near-relay.sock"
        server = await asyncio.start_unix_server(serve, path)
        connection = await NearRelayConnection.connect(path, Listener())
        assert connection is not None
        assert {one["v"] for one in asked} == {1}
        connection.close()
        await served.wait()
        server.close()
        path.unlink(missing_ok=True)

    asyncio.run(check())
