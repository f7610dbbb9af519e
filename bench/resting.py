"""Measures the cost of an idle agent and of a call of `trayagent status`."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.icon import session_bus
from bench.watcher import Watcher
from trayagent.agent.masters.watch_use import LOOK_S, QUIET_S
from trayagent.sandbox import Agent, Lab

HOSTS = 5
SHELLS = 3


def idle(seconds: float) -> tuple[int, float]:
    """Return the agent's context switches in `seconds` and its RSS in MB, with a tray and five connected hosts.

    Three of them have an open, quiet session.
    """
    return asyncio.run(_idle(seconds))


async def _idle(seconds: float) -> tuple[int, float]:
    async with session_bus() as (address, _):
        watcher = await Watcher.on(address)
        with Lab(rtt_ms=50) as lab, Agent(lab, desktop={"DBUS_SESSION_BUS_ADDRESS": address}) as agent:
            await asyncio.to_thread(_connect, lab, agent)
            await watcher.registered()
            if agent.pid is None:
                raise RuntimeError("the agent ended")
            shells = [
                lab.laptop.popen(["ssh", f"web{i:02}", "cat"], stdin=subprocess.PIPE) for i in range(SHELLS)
            ]
            # Wait until the agent has finished the work of its start and no longer counts the sessions as used.
            await asyncio.sleep(QUIET_S + 3 * LOOK_S)
            before = own_switches(agent.pid)
            await asyncio.sleep(seconds)
            found = own_switches(agent.pid) - before, rss_mb(agent.pid)
            for shell in shells:
                shell.kill()
        watcher.leave()
    return found


def status_ratio(runs: int) -> tuple[float, float]:
    """Return (median, worst) of the time of `trayagent status` relative to `python -c pass`, measured in turn."""
    with Lab() as lab, Agent(lab) as agent:
        _connect(lab, agent)
        python = [sys.executable, "-c", "pass"]
        status = [sys.executable, "-m", "trayagent", "status", "--json"]
        compiled = {**agent.env, "PYTHONDONTWRITEBYTECODE": ""}  # compiled, like an installed program
        ratios = []
        for number in range(runs + 1):
            took = [_seconds(lab, words, compiled) for words in (status, python)]
            if number:  # not counted, because the first run compiles
                ratios.append(took[0] / took[1])
    return statistics.median(ratios), max(ratios)


def _connect(lab: Lab, agent: Agent) -> None:
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    names = [f"web{i:02}" for i in range(HOSTS)]
    lab.ssh_config({n: {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"} for n in names})
    forwards = (f'[hosts.{n}]\nlocal = ["{9000 + i}:127.0.0.1:8000"]\n' for i, n in enumerate(names))
    agent.start("".join(forwards))
    for name in names:
        agent.wait_state(name, "connected")


def _seconds(lab: Lab, words: list[str], env: dict[str, str]) -> float:
    begin = time.monotonic()
    child = lab.laptop.popen(words, env=env, stdout=subprocess.DEVNULL)
    child.wait()
    return time.monotonic() - begin


def own_switches(pid: int) -> int:
    """Return the context switches of a process so far, in all its threads."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                found += int(line.split()[1])
    return found


def rss_mb(pid: int) -> float:
    """Return the RSS of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
