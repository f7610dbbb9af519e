from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from msgspec.structs import replace

from trayagent.agent.masters.key_trial import KeyTrials
from trayagent.agent.parts import Parts
from trayagent.agent.tasks import Tasks
from trayagent.config import file_paths
from trayagent.core.facts.actions import TryKeys
from trayagent.core.facts.events import Event, TrialEnded
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.sandbox.lab_files import keygen
from trayagent.ssh.os.process import read


def test_a_trial_can_be_aborted_like_any_attempt(tmp_path: Path) -> None:
    """An aborted key trial has no verdict, and leaves no ssh process and no files."""
    key, ssh, started = tmp_path / "key", tmp_path / "ssh", tmp_path / "started"
    keygen(key)
    ssh.write_text(f"#!/bin/sh\necho $$ >{started}.new && mv {started}.new {started}\nexec sleep 600\n")
    ssh.chmod(0o700)
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    paths = replace(file_paths.find(env={}), runtime_dir=runtime, ssh=str(ssh))
    resolved = Resolved("web01", "203.0.113.10", identity_files=(str(key),), identity_agent="none")

    async def run() -> list[Event]:
        events: list[Event] = []
        tasks = Tasks()
        shell, environment = SimpleNamespace(post=events.append), SimpleNamespace(current=dict)
        parts = SimpleNamespace(file_paths=paths, shell=shell, tasks=tasks, environment=environment)
        KeyTrials(cast("Parts", parts)).begin(TryKeys("web01", 7), Host("web01", resolved=resolved))
        async with asyncio.timeout(30):
            while not started.exists():
                assert not events, events
                await asyncio.sleep(0.01)
            tasks.cancel("attempt 7")
            await tasks.finished(["attempt 7"])
        return events

    (event,) = asyncio.run(run())
    assert isinstance(event, TrialEnded)
    assert (event.attempt, event.verdict) == (7, "unknown")
    assert read(int(started.read_text())) is None
    assert not list(runtime.iterdir())
