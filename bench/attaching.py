"""Measures how soon a terminal is back in its tmux session, compared with a cold ssh, and the cost while attached.

In a namespace, only an sshd that runs as root can give a session a terminal.
"""

from __future__ import annotations

import os
import statistics
import time

from bench.recovery import QUIET_S, RTT_MS
from bench.resting import own_switches, rss_mb
from bench.scenarios import HOST, SERVER
from trayagent.sandbox import Agent, Lab, Terminal

NAME = "main"
FIRST = "\x1b[?1049h"
"""The first bytes that tmux sends to a terminal."""
WORDS = f"tmux new-session -A -s {NAME}"
DEADLINE_S = 60.0
BOUND_RTTS = 3.0


def possible() -> bool:
    """Report whether this machine can run the measurement."""
    return os.getuid() == 0


def measure(runs: int) -> tuple[float, float, float, float]:
    """Return the median seconds of a cold ssh and of trayagent, and the difference in round trips (median, worst)."""
    pairs = [(cold_seconds(), seconds()) for _ in range(runs)]
    above = [(ours - cold) / (RTT_MS / 1e3) for cold, ours in pairs]
    cold, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return cold, ours, statistics.median(above), max(above)


def seconds() -> float:
    """Return the seconds from the new address to the first byte of the reattached session."""
    with _lab() as lab, Agent(lab) as agent, _attached(lab, agent) as terminal:
        time.sleep(QUIET_S)
        t0 = lab.switch("home", "cafe")
        return terminal.when(FIRST, DEADLINE_S) - t0


def cold_seconds() -> float:
    """Return the seconds from the start of a plain ssh on the other network to the session's first byte."""
    with _lab() as lab:
        lab.join("cafe")
        lab.server.run(WORDS.replace("-A", "-d").split())
        config = str(lab.files.ssh / "config")
        t0 = time.monotonic()
        with Terminal(lab.laptop, ["ssh", "-F", config, "-S", "none", "-t", HOST, WORDS], {}) as terminal:
            return terminal.when(FIRST, DEADLINE_S) - t0


def idle(seconds_: float) -> tuple[int, float]:
    """Return the context switches of an attached terminal in `seconds_`, and its RSS in MB."""
    with _lab() as lab, Agent(lab) as agent, _attached(lab, agent) as terminal:
        terminal.drain(5.0)
        before = own_switches(terminal.pid)
        time.sleep(seconds_)
        return own_switches(terminal.pid) - before, rss_mb(terminal.pid)


def _attached(lab: Lab, agent: Agent) -> Terminal:
    lab.join("home")
    agent.start(f'[hosts.{HOST}]\nsession = "tmux"\n')
    agent.wait_state(HOST, "connected")
    terminal = agent.at_terminal("attach", HOST, NAME)
    terminal.expect(FIRST)
    return terminal


def _lab() -> Lab:
    lab = Lab(rtt_ms=RTT_MS)
    try:
        lab.sshd(SERVER)
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
    except BaseException:
        lab.close()
        raise
    return lab
