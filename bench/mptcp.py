"""Measures how soon an open session answers after a move with Multipath TCP on both ends, against a cold ssh."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.recovery import QUIET_S, RTT_MS
from bench.scenarios import HOST, SERVER
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.firewall import MptcpBox
from trayagent.sandbox.network_map import SERVER_6

GOAL = 0.40
MOVES = 8
SCRIPT = Path(__file__).parents[1] / "installers" / "linux" / "nm-dispatcher-mptcp"


@dataclass(frozen=True, slots=True)
class Moves:
    """For each move, the seconds until an open session answered, and those of a cold ssh.

    `logins` counts the logins that the agent made meanwhile.
    """

    session_s: list[float]
    cold_s: list[float]
    logins: int

    @property
    def ratios(self) -> list[float]:
        """The times relative to the cold ssh of the same move."""
        return [ours / cold for ours, cold in zip(self.session_s, self.cold_s, strict=True)]


def measure(*, dispatcher: bool = True) -> Moves:
    """Move MOVES times to a new address each. `dispatcher`: run the script as NetworkManager would."""
    session_s: list[float] = []
    cold_s: list[float] = []
    with Lab(rtt_ms=RTT_MS) as lab, Agent(lab) as agent:
        lab.set_mptcp(True)
        lab.join("home")
        server = lab.sshd(mptcp=True)
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
        agent.start(f"[hosts.{HOST}]\n")
        agent.wait_state(HOST, "connected")
        for words in (["doctor"], ["reconnect", "--now", HOST]):
            agent.cli(*words)
        if not agent.wait_state(HOST, "connected")["mptcp"]:
            raise TrayagentError("the connection does not use Multipath TCP", code="sandbox-broken")
        if dispatcher:
            dispatch(lab, "up")
        pipe = subprocess.PIPE
        session = lab.laptop.popen(["ssh", HOST, "cat"], stdin=pipe, stdout=pipe)
        _answer(session)
        before = server.logins()
        here, there = "home", "cafe"
        for move in range(MOVES):
            time.sleep(QUIET_S)
            host = 20 + move
            subnet = {"home": "192.168.10", "cafe": "10.20.0"}[there]
            lab.leave(here)
            t0 = lab.join(there, address=f"{subnet}.{host}")
            if dispatcher:
                dispatch(lab, "up")
            session_s.append(_answer(session) - t0)
            began = time.monotonic()
            lab.laptop.check(["ssh", "-S", "none", HOST, "echo"])
            cold_s.append(time.monotonic() - began)
            here, there = there, here
        return Moves(session_s, cold_s, server.logins() - before - MOVES)


def dispatch(lab: Lab, event: str) -> None:
    """Run the dispatcher script in the background, as root of the laptop's namespace, for an event of `wlan0`."""
    env = {"TRAYAGENT_MPTCP_FOLDER": str(lab.files.root / "mptcp")}
    lab.laptop.popen(["sh", str(SCRIPT), "wlan0", event], admin=True, env=env)


def _answer(child: subprocess.Popen[str]) -> float:
    """Send a line, wait for its echo and return the time. Raise TrayagentError if the session ended."""
    if child.stdin is None or child.stdout is None:
        raise TrayagentError("the session has no pipes", code="sandbox-broken")
    child.stdin.write("x\n")
    child.stdin.flush()
    if child.stdout.readline() != "x\n":
        raise TrayagentError("what was open ended at a move", code="sandbox-broken")
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Case:
    """A network, or a server, on which Multipath TCP may cost time. `box` is what the café's gateway does with it."""

    name: str
    goal_ms: float = 5.0
    box: MptcpBox = "pass"
    nat: bool = False
    strict: bool = False
    ipv6: bool = False
    speaks: bool = True


CASES = (
    Case("NAT", nat=True),
    Case("strict rp_filter", strict=True),
    Case("IPv6", ipv6=True),
    Case("a server without MPTCP", speaks=False),
    Case("a gateway that removes the option", box="strip"),
    Case("a gateway that drops it (once)", goal_ms=300.0, box="drop"),
)


PAIRS = 15  # the median of so many differences holds beside other work


def added_ms(case: Case, pairs: int) -> list[float]:
    """Return how much longer the first recovery on the network takes with Multipath TCP than without, in ms.

    The two of a pair follow each other, and every other pair begins with Multipath TCP, so a load that changes slowly
    does not count.
    """
    found: list[float] = []
    with Lab(rtt_ms=RTT_MS, nat=case.nat, ipv6=case.ipv6) as lab:
        server = lab.sshd(SERVER_6 if case.ipv6 else SERVER, mptcp=case.speaks)
        options = {"HostName": server.address, "ControlPath": "~/.ssh/cm-%C"}
        lab.ssh_config({HOST: options})
        if case.strict:
            strict = "for one in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $one; done"
            lab.laptop.check(["sh", "-c", strict], admin=True)
        lab.set_mptcp_box("cafe", case.box)
        lab.join("home")
        for pair in range(pairs):
            order = (False, True) if pair % 2 == 0 else (True, False)
            took_ms = {on: _recovery_ms(lab, on=on) for on in order}
            found.append(took_ms[True] - took_ms[False])
    return found


def _recovery_ms(lab: Lab, *, on: bool) -> float:
    """Return how long an agent needs to connect in the café. It has seen the server answer MPTCP, and is new there."""
    with Agent(lab) as agent:
        agent.configure(f"[hosts.{HOST}]\n[agent]\nmptcp = {str(on).lower()}\n")
        agent.start()
        agent.wait_state(HOST, "connected")
        agent.stop()
        _remember(agent)
        agent.start()
        agent.wait_state(HOST, "connected")
        events = agent.events()
        time.sleep(QUIET_S)
        lab.switch("home", "cafe")
        took_ms = float(events.wait("connected", HOST)["took_ms"])
        agent.cli("stop", "--masters")
        agent.wait_end()
        lab.switch("cafe", "home")
        return took_ms


def _remember(agent: Agent) -> None:
    """Write into the records that the server answered MPTCP just now."""
    records = agent.records()
    records["hosts"][HOST]["mptcp"] = {"seen_at": time.time()}
    agent.records_file.write_text(json.dumps(records))
