"""Measures how soon a host that roams answers first, beside the same host without roaming."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field

from bench.recovery import QUIET_S, RTT_MS
from bench.scenarios import HOST, SERVER
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.roaming_relays import wait_for

EVENTS = ("the agent's start", "reconnect")
WAYS = ("session", "-L", "-R")
GOAL = 1.05
"""No later. The times of one program also differ by a few percent between runs."""
_LOCAL, _REMOTE = 9000, 9022
_FORWARDS = f'local = ["{_LOCAL}:127.0.0.1:8000"]\nremote = ["{_REMOTE}:127.0.0.1:8000"]\n'
_LONG_S = 60.0


@dataclass(frozen=True, slots=True)
class Firsts:
    """The seconds from an event to the first answer in one way, with and without roaming, alternately."""

    roaming: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """For each run, roaming relative to plain."""
        return [ours / theirs for ours, theirs in zip(self.roaming, self.plain, strict=True)]


def measure(runs: int) -> dict[tuple[str, str], Firsts]:
    """Return the times for each event and way. A first run of each kind is not counted."""
    found = {(event, way): Firsts() for event in EVENTS for way in WAYS}
    with Lab(rtt_ms=RTT_MS) as lab:
        lab.join("home")
        lab.sshd()
        for node in (lab.laptop, lab.server):
            lab.echo(8000, node=node)
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%n"}})
        for number in range(runs + 1):
            for roams in (True, False) if number % 2 else (False, True):
                for key, seconds in _both_events(lab, f"agent-{number}-{roams}", roams=roams).items():
                    if number:
                        (found[key].roaming if roams else found[key].plain).append(seconds)
    return found


def _both_events(lab: Lab, name: str, *, roams: bool) -> dict[tuple[str, str], float]:
    """Start a new agent, disconnect the host, and connect it again.

    An earlier agent's records would say that the user disconnected the host.
    """
    with Agent(lab, name=name) as agent:
        agent.configure(f"[hosts.{HOST}]\nroam = {str(roams).lower()}\n{_FORWARDS}")
        started, reconnected = EVENTS
        found = _first_answers(lab, agent, started)
        _rest(agent, roams=roams)
        agent.cli("disconnect", HOST)
        time.sleep(QUIET_S)
        found |= _first_answers(lab, agent, reconnected)
        _rest(agent, roams=roams)
        agent.cli("disconnect", HOST)
        time.sleep(QUIET_S)
    return found


def _first_answers(lab: Lab, agent: Agent, event: str) -> dict[tuple[str, str], float]:
    with lab.probe(_LOCAL) as local, lab.probe(_REMOTE, node=lab.server) as remote:
        begin = time.monotonic()
        for probe in (local, remote):
            probe.release()
        if event == "reconnect":
            lab.laptop.popen(agent.command("reconnect", HOST), env=agent.env)
        else:
            agent.start()
        ends = (_session_answers(lab), local.result(_LONG_S), remote.result(_LONG_S))
    return {(event, way): end - begin for way, end in zip(WAYS, ends, strict=True)}


def _session_answers(lab: Lab) -> float:
    """Return the time when the first session through the master answered. It never makes its own connection."""
    words = ["ssh", "-o", "ControlMaster=no", "-o", "ProxyCommand=false", HOST, "echo answer"]
    socket = lab.files.ssh / f"cm-{HOST}"
    times = []

    def answered() -> bool:
        if not socket.exists():
            return False
        with lab.laptop.popen(words, stdout=subprocess.PIPE) as child:
            assert child.stdout  # noqa: S101 - it is a pipe
            found = child.stdout.readline() == "answer\n"
            times.append(time.monotonic())
        return found

    wait_for(answered, "a session answers", _LONG_S)
    return times[-1]


def _rest(agent: Agent, *, roams: bool) -> None:
    """Wait until the host roams, or as long as nothing more happens."""
    if roams:
        wait_for(lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), "it roams", _LONG_S)
    time.sleep(QUIET_S)
