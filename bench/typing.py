"""Measures how long after a move an `ssh HOST` still finds the old master stale and so makes its own connection."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from bench.recovery import QUIET_S, RTT_MS
from bench.scenarios import HOST, SERVER
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.roaming_relays import wait_for

STEPS_MS = tuple(range(0, 1001, 100))


@dataclass(frozen=True, slots=True)
class Typed:
    """One typed ssh: when it started and answered after the move, and when the new master was there, in seconds.

    `beside`: the typed ssh made its own connection instead of using a master.
    """

    started_s: float
    answered_s: float
    connected_s: float
    beside: bool


def measure(step_ms: int, runs: int, *, roam: bool = False) -> list[Typed]:
    """Move between two networks `runs` times, and start an ssh `step_ms` after each move. The host may `roam`."""
    found: list[Typed] = []
    with Lab(rtt_ms=RTT_MS) as lab, Agent(lab) as agent:
        lab.join("home")
        server = lab.sshd()
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
        agent.start(f"[hosts.{HOST}]\nroam = {str(roam).lower()}\n")
        agent.wait_state(HOST, "connected")
        here, there = "home", "cafe"
        for _ in range(runs):
            if roam:
                wait_for(lambda: (agent.listed_host(HOST)["roaming"] or {}).get("attached"), "the host roams")
            time.sleep(QUIET_S)
            logins, events = server.logins(), agent.events()
            t0 = lab.switch(here, there)
            time.sleep(max(0.0, t0 + step_ms / 1e3 - time.monotonic()))
            started = time.monotonic()
            pipe = subprocess.PIPE
            child = lab.laptop.popen(["ssh", HOST, "echo there"], stdout=pipe, stderr=pipe)
            if child.communicate()[0] != "there\n":
                raise TrayagentError("a typed ssh failed after a move", code="sandbox-broken")
            answered = time.monotonic()
            took_ms = events.wait("connected", HOST)["took_ms"]
            events.end()
            beside = server.logins() - logins > 1
            found.append(Typed(started - t0, answered - t0, took_ms / 1e3, beside))
            here, there = there, here
    return found
