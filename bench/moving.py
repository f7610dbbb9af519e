"""Measures how soon open sessions and connections of a host that roams answer after a move, against a cold ssh."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.recovery import QUIET_S, RTT_MS
from bench.scenarios import HOST, SERVER
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.roaming_relays import wait_for

GAPS_S = {"S1": 0.0, "S2": 2.0}
MEDIAN_GOAL, WORST_GOAL = 0.90, 1.2
PORT_MEDIAN_GOAL, PORT_WORST_GOAL = 0.15, 0.45  # with `roam_port`; the worst case is a lost packet
STANDBY_MEDIAN_GOAL, STANDBY_WORST_GOAL = 0.15, 0.45  # after unplugging, with `standby`
_CABLE, _RADIO = "eth0", "wlan0"
_CONFIG = f'[hosts.{HOST}]\nroam = true\nlocal = ["9000:127.0.0.1:8000"]\n'
_THROUGH_FORWARD = """
import socket, sys
lines = socket.create_connection(("127.0.0.1", 9000)).makefile("rw")
for line in sys.stdin:
    lines.write(line); lines.flush()
    print(lines.readline(), end="", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Moves:
    """For each move, the seconds until a session and a forwarded connection answered, and those of a cold ssh."""

    session_s: list[float]
    forwarded_s: list[float]
    cold_s: list[float]

    @property
    def ratios(self) -> list[float]:
        """For each move, the later of both answers relative to the cold ssh."""
        later = map(max, self.session_s, self.forwarded_s)
        return [ours / cold for ours, cold in zip(later, self.cold_s, strict=True)]


def measure(runs: int, gap_s: float, *, by_port: bool = False) -> Moves:
    """Move between two networks `runs` times, with this gap without a network. `by_port`: the host has `roam_port`."""
    found = Moves([], [], [])
    with _roaming("roam_port = 60001\n" if by_port else "") as (lab, session, forwarded, _):
        here, there = "home", "cafe"
        for _ in range(runs):
            time.sleep(QUIET_S)
            t0 = lab.switch(here, there, gap_s=gap_s)
            for child in (session, forwarded):
                _type(child)
            found.session_s.append(_answer(session) - t0)
            found.forwarded_s.append(_answer(forwarded) - t0)
            began = time.monotonic()
            lab.laptop.check(["ssh", "-S", "none", HOST, "echo"])
            found.cold_s.append(time.monotonic() - began)
            here, there = there, here
    return found


def unplug(runs: int) -> Moves:
    """Unplug the network in use `runs` times, while the host has a standby on the other one."""
    found = Moves([], [], [])
    with _roaming("standby = true\n", beside="cafe") as (lab, session, forwarded, agent):
        for run in range(runs):
            # A change of the configuration ends the pause between two standbys.
            agent.configure(f"{_CONFIG}standby = true\nreap = {str(run % 2 == 0).lower()}\n")
            wait_for(lambda: _has_standby(agent), "a standby")
            time.sleep(QUIET_S)
            here = "home" if _interface(agent) == _CABLE else "cafe"
            interface = _CABLE if here == "home" else _RADIO
            t0 = lab.link_down(interface)
            for child in (session, forwarded):
                _type(child)
            found.session_s.append(_answer(session) - t0)
            found.forwarded_s.append(_answer(forwarded) - t0)
            lab.leave(here)  # a cold ssh would try the routes of the unplugged network
            began = time.monotonic()
            lab.laptop.check(["ssh", "-S", "none", HOST, "echo"])
            found.cold_s.append(time.monotonic() - began)
            wait_for(lambda gone=interface: _interface(agent) != gone, "the standby is in place")
            lab.join(here, interface=interface)
    return found


def _has_standby(agent: Agent) -> bool:
    return bool((agent.listed_host(HOST)["standby"] or {}).get("ready"))


def _interface(agent: Agent) -> str | None:
    found: str | None = agent.listed_host(HOST)["interface"]
    return found


@contextlib.contextmanager
def _roaming(
    more: str, *, beside: str | None = None
) -> Iterator[tuple[Lab, subprocess.Popen[str], subprocess.Popen[str], Agent]]:
    """Yield a laboratory, a session of a host that roams, and a connection through a forward of that host.

    `beside`: the laptop is also in this network, by another interface.
    """
    with Lab(rtt_ms=RTT_MS) as lab, Agent(lab) as agent:
        lab.join("home", interface=_RADIO if beside is None else _CABLE)
        if beside is not None:
            lab.join(beside, interface=_RADIO)
        lab.sshd()
        lab.echo(8000)
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
        agent.start(_CONFIG + more)
        wait_for(lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), "the host roams")
        agent.wait_forwards(HOST, {"local": "open"})
        pipe = subprocess.PIPE
        session = lab.laptop.popen(["ssh", HOST, "cat"], stdin=pipe, stdout=pipe)
        words = [sys.executable, "-I", "-c", _THROUGH_FORWARD]
        forwarded = lab.laptop.popen(words, stdin=pipe, stdout=pipe)
        for child in (session, forwarded):
            _type(child)
            _answer(child)
        yield lab, session, forwarded, agent


def _type(child: subprocess.Popen[str]) -> None:
    if child.stdin is not None:
        child.stdin.write("x\n")
        child.stdin.flush()


def _answer(child: subprocess.Popen[str]) -> float:
    """Wait for the answer and return the time. Raise TrayagentError if the connection ended."""
    if child.stdout is None or child.stdout.readline() != "x\n":
        raise TrayagentError("what was open ended at a move", code="sandbox-broken")
    return time.monotonic()
