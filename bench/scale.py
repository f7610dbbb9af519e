"""Measures a start and a move with many hosts on few servers: their time compared with a shell loop, and their cost.

The loop starts plain ssh masters, a fixed number at a time, in the same run and on the same lines. Of several
such numbers, the fastest is used. The CPU time is that of the agent alone, without its ssh processes, because
the loop needs those, too.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.resting import rss_mb
from trayagent.errors import TrayagentError
from trayagent.ipc.blocking_client import call
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER, SERVER

RTT_MS = 50.0
GIVE_UP_S = 600.0
RATIO_GOAL = 1.0
"""The longest allowed time of a move, as a multiple of the fastest loop's time."""
AT_ONCE = (6, 12, 24)
"""The numbers of ssh processes that the loop starts at a time."""

_PLACES = ((SERVER, 22), (JUMP, 22), (OTHER, 22), (SERVER, 2222), (JUMP, 2222))
_CONFIG = ("MaxStartups 10:30:100", "MaxSessions 100")
_GATE = "gate"
_POLL_S = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Found:
    """The results for one number of hosts. Times are in seconds, `rss_mb` in MB.

    `loop_s`: the time of the fastest loop, which starts `at_once` processes at a time. `status_s`: the time
    of each answer to `status` during the start and the move. `log_lines`: the number of lines that the agent
    logged during the move.
    """

    hosts: int
    loop_s: float
    at_once: int
    start_s: float
    move_s: float
    start_cpu_s: float
    move_cpu_s: float
    rss_mb: float
    status_s: list[float]
    log_lines: int
    refused: int
    stop_s: float


def measure(hosts: int, at_once: Sequence[int] = AT_ONCE, *, jump: bool = False) -> Found:
    """Return the results for this number of hosts; `jump`: on one server, behind one jump host.

    Raises TrayagentError if a host is not connected within GIVE_UP_S.
    """
    with Lab(rtt_ms=RTT_MS) as lab:
        names = _prepared(lab, hosts, jump=jump)
        lab.join("home")
        loops = {number: _loop(lab, names, number) for number in at_once}
        best = min(loops, key=lambda number: loops[number])
        with Agent(lab) as agent:
            found = _agent(lab, agent, names)
        return Found(hosts, loops[best], best, *found)


def unused_hosts(hosts: int) -> float:
    """Return the seconds from the start of an agent until it answers `status`. No host is in use."""
    with Lab() as lab, Agent(lab) as agent:
        names = _prepared(lab, hosts)
        lab.join("home")
        begin = time.monotonic()
        agent.start("".join(f'[hosts.{name}]\nconnect = "on-use"\n' for name in names), deadline_s=GIVE_UP_S)
        return time.monotonic() - begin


def _prepared(lab: Lab, hosts: int, *, jump: bool = False) -> list[str]:
    for address, port in _PLACES:
        lab.sshd(address, port, config=_CONFIG)
    names = [f"web{number:03}" for number in range(hosts)]
    options: dict[str, dict[str, str | int | list[str]]] = {}
    for number, name in enumerate(names):
        address, port = _PLACES[number % len(_PLACES)]
        options[name] = {"HostName": address, "Port": port, "ControlPath": "~/.ssh/cm-%n"}
        if jump:
            options[name] |= {"HostName": SERVER, "Port": 2222, "ProxyJump": _GATE}
    if jump:
        options[_GATE] = {"HostName": JUMP, "ControlPath": "~/.ssh/cm-%n"}
        names.append(_GATE)
    lab.ssh_config(options)
    return names


def _loop(lab: Lab, names: Sequence[str], at_once: int) -> float:
    """Return how long a shell loop takes until each host has a master. Ends the masters."""
    config = shlex.quote(str(lab.files.ssh / "config"))
    one = f"until ssh -F {config} -o ControlPersist=yes -M -N -f HOST 2>/dev/null; do sleep 0.2; done"
    words = ["xargs", "-P", str(at_once), "-I", "HOST", "sh", "-c", one]
    begin = time.monotonic()
    lab.laptop.run(words, text="\n".join(names) + "\n", deadline_s=GIVE_UP_S)
    took = time.monotonic() - begin
    lab.laptop.signal(signal.SIGKILL)
    for name in names:
        (lab.files.ssh / f"cm-{name}").unlink(missing_ok=True)
    for server in lab.servers:
        server.end_sessions()
    return took


def _agent(
    lab: Lab, agent: Agent, names: Sequence[str]
) -> tuple[float, float, float, float, float, list[float], int, int, float]:
    begin = time.monotonic()
    agent.start("".join(f"[hosts.{name}]\n" for name in names), deadline_s=GIVE_UP_S)
    pid = agent.pid or 0
    with _statuses(agent) as took:
        first = _all_connected(agent, {})
        start_s, start_cpu_s = time.monotonic() - begin, _cpu_s(pid)
        rss = rss_mb(pid)
        lines, drops = _lines(agent.state_dir / "agent.log"), _refused(lab)
        before = _cpu_s(pid)
        t0 = lab.switch("home", "cafe")
        _all_connected(agent, first)
        move_s, move_cpu_s = time.monotonic() - t0, _cpu_s(pid) - before
        lines, drops = _lines(agent.state_dir / "agent.log") - lines, _refused(lab) - drops
    lab.switch("cafe", "home")
    time.sleep(1.0)  # stop the agent in the middle of the next recovery
    stop_s = agent.stop(deadline_s=GIVE_UP_S)
    return start_s, move_s, start_cpu_s, move_cpu_s, rss, took, lines, drops, stop_s


def _all_connected(agent: Agent, before: dict[str, int]) -> dict[str, int]:
    """Wait until each host is connected by a master that is not in `before`. Return the masters' pids by host."""
    limit = time.monotonic() + GIVE_UP_S
    while time.monotonic() < limit:
        view = _status(agent)
        found = {h["name"]: h["pid"] for h in view["hosts"] if h["state"] == "connected"}
        if len(found) == len(view["hosts"]) and all(before.get(name) != pid for name, pid in found.items()):
            return found
        time.sleep(_POLL_S)
    raise TrayagentError("not every host came back", code="sandbox-broken")


@contextlib.contextmanager
def _statuses(agent: Agent) -> Iterator[list[float]]:
    """Request the state of one host again and again, and collect how long each answer takes."""
    took: list[float] = []
    ended = threading.Event()

    def request() -> None:
        while not ended.wait(_POLL_S):
            begin = time.monotonic()
            _status(agent, "web000")
            took.append(time.monotonic() - begin)

    thread = threading.Thread(target=_quietly(request), daemon=True)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join()


def _quietly(do: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        with contextlib.suppress(TrayagentError):
            do()

    return quiet


def _status(agent: Agent, *names: str) -> dict[str, Any]:
    return call(agent.runtime_dir / "agent.sock", "status", {"hosts": list(names)})


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process without its children (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _lines(log: Path) -> int:
    return log.read_text(errors="replace").count("\n")


def _refused(lab: Lab) -> int:
    """Return how many connections the servers dropped because of MaxStartups."""
    return sum(server.said().count("drop connection") for server in lab.servers)
