from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trayagent.ipc.errors import BadRequest
from trayagent.ipc.server import Server

WITHIN_S = 20.0
PROBLEM = {
    "code": "host-key-changed",
    "title": "db shows another host key",
    "hint": "Compare it with db's own.",
}


def host(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "listed": True,
        "state": state,
        "since": "2026-01-01T08:00:01Z",
        "pid": None,
        "control_path": None,
        "local": None,
        "peer": None,
        "interface": None,
        "forwards": [],
        "attempt": 0,
        "next_retry": None,
        "problem": None,
        "held": False,
        "recoveries": 0,
        "last_recovery_ms": None,
    } | more


def forward(kind: str, spec: str, state: str, error: Any = None) -> dict[str, Any]:
    return {"kind": kind, "spec": spec, "state": state, "listen": None, "error": error}


def example_view() -> dict[str, Any]:
    """Return a view as in the documentation, with hosts in several states."""
    network = {"interface": "wlan0", "address": "192.168.10.2", "gateway": "192.168.10.1"}
    wlan = {"name": "wlan0", "up": True, "kind": "physical", "addresses": ["192.168.10.2/24"]}
    return {
        "schema": 1,
        "agent": {
            "version": "0.1.0",
            "pid": 4000,
            "started": "2026-01-01T08:00:00Z",
            "paused": False,
            "paused_until": None,
            "config_error": None,
        },
        "network": {"online": True, "name": None, "default": network, "interfaces": [wlan]},
        "vpns": [
            {
                "name": "corp",
                "state": "up",
                "interface": "tun0",
                "since": "2026-01-01T08:00:00Z",
                "hosts": ["db"],
                "problem": None,
            }
        ],
        "hosts": [
            host(
                "web01",
                "connected",
                pid=4242,
                forwards=[
                    forward("local", "8080:localhost:80", "open"),
                    forward("remote", "22221:localhost:22", "failed", "port 22221 is taken on the server"),
                ],
            ),
            host("db", "failed", problem=PROBLEM),
            host("nas", "waiting", attempt=2, next_retry="2030-01-01T00:00:00Z"),
        ],
    }


class FakeAgent:
    """A fake agent: a real server in its own thread, with the operations that the commands need."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.view = example_view()
        self.decisions: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.streams: dict[str, list[dict[str, Any]]] = {"watch": [], "events": []}
        self.subscribed = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = Server(path, self)
        self._run(self._server.start())

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002  # the Protocol's
        """Answer as the agent would."""
        self.asked.append((op, args))
        if "nowhere" in args.get("hosts", []) or args.get("host") == "nowhere":
            raise BadRequest("There is no host nowhere.", code="unknown-host", hint="See trayagent status")
        match op:
            case "status":
                return self.view
            case "why":
                return {"host": args["host"], "decisions": self.decisions}
            case "reconnect":
                return {"hosts": self.outcomes}
            case _:
                return {}

    async def subscribe(
        self, op: str, args: dict[str, Any], push: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Push the prepared items immediately."""
        self.asked.append((op, args))
        for item in self.streams[op]:
            push(item)
        self.subscribed.set()
        return lambda: None

    def close(self) -> None:
        """End the server and its thread; may be called again."""
        if self._thread.is_alive():
            self._run(self._server.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WITHIN_S)
            self._loop.close()

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WITHIN_S)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli_env(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which every path is redirected, and no terminal's settings are known."""
    dropped = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "XDG_RUNTIME_DIR", "TERM"}
    env = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("TRAYAGENT_")}
    places = {
        "TRAYAGENT_CONFIG": str(tmp_path / "config.toml"),
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "state"),
    }
    return env | places | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "xterm-256color"}


@pytest.fixture
def run(cli_env: dict[str, str]) -> Run:
    """Return a function that runs the real command, and returns its exit status and output."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trayagent", *words]
        return subprocess.run(
            command, env=cli_env | env, capture_output=True, encoding="utf-8", timeout=WITHIN_S, check=False
        )

    return run


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    """Run a fake agent at the path that the commands use."""
    (tmp_path / "run").mkdir(mode=0o700)
    fake = FakeAgent(tmp_path / "run" / "agent.sock")
    try:
        yield fake
    finally:
        fake.close()
