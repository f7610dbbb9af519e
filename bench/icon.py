"""Measures the time from the program's start to its icon in the panel, and the agent's memory with an icon.

The panel is a minimal StatusNotifierWatcher: it owns the name and records registrations.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.watcher import Watcher

_CONFIG = """<busconfig><type>session</type><listen>unix:path={place}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
SETTLED_S = 5.0


def registered_ms(runs: int) -> tuple[float, float, float]:
    """Return (median, worst) of the milliseconds to the registered icon, and the RSS in MB at rest."""
    times, rss = asyncio.run(_measure(runs))
    return statistics.median(times), max(times), rss


async def _measure(runs: int) -> tuple[list[float], float]:
    times: list[float] = []
    rss = 0.0
    async with session_bus() as (address, folder):
        watcher = await Watcher.on(address)
        for number in range(runs + 1):
            begin = time.monotonic()
            child = _start(address, folder)
            try:
                at = await watcher.registered()
                if number:  # not counted, because the first run compiles
                    times.append((at - begin) * 1e3)
                if number == runs:
                    await asyncio.sleep(SETTLED_S)
                    rss = _rss_mb(child.pid)
            finally:
                child.terminate()
                child.wait()
        watcher.leave()
    return times, rss


@asynccontextmanager
async def session_bus() -> AsyncIterator[tuple[str, Path]]:
    """Run a session bus. Yield its address and a folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, place = Path(name), Path(name) / "bus"
        (folder / "bus.conf").write_text(_CONFIG.format(place=place))
        words = ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile"]
        bus = subprocess.Popen(words, stderr=subprocess.DEVNULL)  # noqa: ASYNC220  # nothing waits for it
        try:
            while not place.exists():  # noqa: ASYNC110  # there is no event for a socket that appears
                await asyncio.sleep(0.01)
            yield f"unix:path={place}", folder
        finally:
            bus.kill()
            bus.wait()


def _start(address: str, folder: Path) -> subprocess.Popen[bytes]:
    empty = folder / "empty"
    empty.touch(mode=0o600)
    for name in ("run", "state"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    places = {
        "TRAYAGENT_CONFIG": str(empty),
        "TRAYAGENT_SSH_CONFIG": str(empty),
        "TRAYAGENT_RUNTIME_DIR": str(folder / "run"),
        "TRAYAGENT_STATE_DIR": str(folder / "state"),
        "DBUS_SESSION_BUS_ADDRESS": address,
        "PYTHONDONTWRITEBYTECODE": "",  # compiled, like an installed program
    }
    empty.write_text("")
    config = folder / "config.toml"
    config.touch(mode=0o600)
    config.write_text("[agent]\nadopt = false\n")
    return subprocess.Popen(
        [sys.executable, "-m", "trayagent", "run"],
        env={**os.environ, **places, "TRAYAGENT_CONFIG": str(config)},
    )


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
