from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trayagent.errors import TrayagentError
from trayagent.ipc.errors import BadRequest
from trayagent.ipc.server import Server

Push = Callable[[dict[str, Any]], None]
WITHIN_S = 10.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}"
        time.sleep(0.005)


class FakeHandler:
    """A fake handler that echoes requests, and streams the items that the test pushes."""

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.unsubscribed = 0
        self.finish = asyncio.Event()
        self.task_names: list[str] = []

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Echo the request.

        `why` fails in the way that the host's name selects, and `reconnect` lasts until `finish` is set.
        """
        task = asyncio.current_task()
        assert task is not None
        self.task_names.append(task.get_name())
        if op == "why" and args["host"] == "unknown":
            raise BadRequest("There is no host unknown.", code="unknown-host", hint="See trayagent status")
        if op == "why" and args["host"] == "sad":
            raise TrayagentError("It failed.", code="refused", hint="Try again.")
        if op == "why" and args["host"] == "bug":
            raise RuntimeError("a bug")
        if op == "reconnect":
            await self.finish.wait()
        return {"op": op, "args": args, "env": env}

    async def subscribe(self, op: str, args: dict[str, Any], push: Push) -> Callable[[], None]:
        """Push the first view immediately, as the agent does."""
        if args.get("hosts") == ["unknown"]:
            raise BadRequest("There is no host unknown.", code="unknown-host")
        self.pushes.append(push)
        if op == "watch":
            push({"view": 0})

        def unsubscribe() -> None:
            self.pushes.remove(push)
            self.unsubscribed += 1

        return unsubscribe


class RunningServer:
    """A real server on an event loop in its own thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.handler = FakeHandler()
        self.server = Server(path, self.handler)
        self.run(self.server.start())

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WITHIN_S)

    def push(self, item: dict[str, Any]) -> None:
        """Push an item to all subscribers."""

        async def push() -> None:
            for each in list(self.handler.pushes):
                each(item)

        self.run(push())

    def close(self) -> None:
        """Close the server, and end the thread."""
        self.run(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WITHIN_S)
        self.loop.close()


@pytest.fixture
def start_server() -> Callable[[Path], RunningServer]:
    """Return a function that starts another server; the caller closes it."""
    return RunningServer


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningServer]:
    """Run a server with the fake handler."""
    server = RunningServer(tmp_path / "agent.sock")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool], str], None]:
    """Return `until` for the test files, which cannot import a conftest."""
    return until
