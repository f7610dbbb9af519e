"""Measures the time from the kernel's event to the decision, with many masters, in the laptop's namespace.

The netlink source, the snapshot and the core are real. The masters exist only as facts, without processes.
The actions are counted, not carried out.

Usage: python -m bench.decision MASTERS RUNS

It prints a JSON list of milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from trayagent.agent.event_loop import Shell
from trayagent.core.decision_context import Why
from trayagent.core.facts.actions import Action, Dial, Observe
from trayagent.core.facts.events import Configured, HostResolved, MasterFound, Observed, Started
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Touched
from trayagent.core.facts.resolved import Resolved
from trayagent.net import linux_snapshot
from trayagent.net.hints import Hint, NetworkTouched
from trayagent.net.linux_netlink_changes import LinuxNetlink
from trayagent.sandbox import Lab

HOME, CAFE = "192.168.10.2", "10.20.0.2"


class Stopwatch:
    """Counts the attempts, and records when all queued events were decided.

    Each connection stays at its lost address.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.at: float | None = None
        self.dials = 0

    def carry_out(self, action: Action) -> None:
        """Count an attempt, or answer an observation in the kernel's place."""
        if isinstance(action, Dial):
            self.dials += 1
        if isinstance(action, Observe):
            self._shell.post(Observed(time.monotonic(), action.name, action.master.pid, acked=0))

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Ignore the reasons."""

    def all_decided(self) -> None:
        """Record the time once all queued events have been decided."""
        if self.dials and self.at is None:
            self.at = time.monotonic()


async def once(masters: int, ip: subprocess.Popen[str]) -> float:
    """Return the milliseconds from the loss of the address to the last decision about it."""
    shell = Shell()
    watch = Stopwatch(shell)
    source = LinuxNetlink()

    def hint(hint: Hint) -> None:
        if isinstance(hint, NetworkTouched):
            shell.touch(hint.touched)

    names = [f"host{i:03}" for i in range(masters)]
    now = time.monotonic()
    shell.post(Configured(now, {n: Wish(listed=True, connect="always") for n in names}))
    shell.touch(Touched())
    for number, name in enumerate(names):
        peer = f"203.0.113.{number % 200 + 1}"
        shell.post(HostResolved(now, name, Resolved(name, peer), Hop(peer, 22)))
        master = Master(
            number + 10, 1, f"/nowhere/{name}", started_by_agent=True, local=HOME, peer=peer, peer_port=22
        )
        shell.post(MasterFound(now, name, master, fresh=True))
    shell.post(Started(now))
    shell.start(watch, linux_snapshot)
    await shell.decided()  # wait until the events of the start are decided
    source.start(hint)
    t0 = time.monotonic()
    tell(
        ip,
        f"addr add {CAFE}/24 dev wlan0",
        f"addr del {HOME}/24 dev wlan0",
        "route add default via 10.20.0.1",
    )
    while watch.at is None:  # noqa: ASYNC110  # the loop must stay free, like the agent's
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    source.close()
    tell(
        ip,
        f"addr add {HOME}/24 dev wlan0",
        f"addr del {CAFE}/24 dev wlan0",
        "route add default via 192.168.10.1",
    )
    await asyncio.sleep(0.05)
    return (watch.at - t0) * 1e3


def tell(ip: subprocess.Popen[str], *lines: str) -> None:
    """Make `ip -batch -` run these lines now."""
    if ip.stdin is not None:
        ip.stdin.write("".join(f"{line}\n" for line in lines))
        ip.stdin.flush()


def inside(masters: int, runs: int) -> list[float]:
    """Measure in this namespace. Return the milliseconds of each run."""
    with subprocess.Popen(["ip", "-force", "-batch", "-"], stdin=subprocess.PIPE, text=True) as ip:
        times = [asyncio.run(once(masters, ip)) for _ in range(runs)]
        if ip.stdin is not None:
            ip.stdin.close()
    return times


def measure(masters: int, runs: int) -> tuple[float, float]:
    """Return (median, worst) in milliseconds, measured in a sandbox."""
    with Lab() as lab:
        lab.join("home")
        root = str(Path(__file__).parents[1])
        words = [sys.executable, "-m", "bench.decision", str(masters), str(runs)]
        done = lab.laptop.run(words, admin=True, cwd=root, env={"PYTHONPATH": root}, deadline_s=300)
        if done.returncode:
            raise RuntimeError(done.stderr)
        times = json.loads(done.stdout)
    return statistics.median(times), max(times)


if __name__ == "__main__":
    print(json.dumps(inside(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201  # the result
