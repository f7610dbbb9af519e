"""A busy master answers no probe, although its connection lives: ssh does one thing at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

from tests.lab.at_terminal import AtTerminal
from tests.lab.matrix import HARM, OPTIONS, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import NAME_SERVER

# A name server that reports the first query, waits for the end of its input, and then answers NXDOMAIN.
SLOW_NAME_SERVER = """
import select, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("listens", flush=True)
queries = [server.recvfrom(512)]
print("asked", flush=True)
sys.stdin.read()
while queries or select.select([server], [], [], 5)[0]:
    query, client = queries.pop() if queries else server.recvfrom(512)
    server.sendto(query[:2] + b"\\x81\\x83" + query[4:], client)
"""
CONNECT = "import socket; socket.create_connection(('127.0.0.1', 9000)).recv(1)"
HELD, LINE, NAME = BLOCKED = ("held", "line", "name")


def test_busy_masters_survive_a_move_and_a_silent_gap(lab: Lab, agent: Agent) -> None:
    """The agent keeps masters that wait for Ctrl-Q, for a ~C command line, or for a name server's answer."""
    lab.join("home")
    lab.sshd()
    busy = {
        **OPTIONS,
        "ControlPath": "~/.ssh/cm-%n",
        "ControlMaster": "auto",
        "EnableEscapeCommandline": "yes",
    }
    lab.ssh_config(dict.fromkeys(BLOCKED, busy))
    pipe = subprocess.PIPE
    words = [sys.executable, "-I", "-c", SLOW_NAME_SERVER, NAME_SERVER]
    names = lab.server.popen(words, admin=True, stdin=pipe, stdout=pipe)
    assert names.stdin is not None
    assert names.stdout is not None
    assert names.stdout.readline() == "listens\n"
    agent.start("")
    patient = {"RES_OPTIONS": "timeout:30 attempts:1"}
    with ExitStack() as stack:

        def ssh(*words: str) -> AtTerminal:
            return stack.enter_context(AtTerminal(lab.laptop, ["ssh", *words], patient))

        held = ssh(HELD, "echo ready; read line; yes | head -c 300000; echo the end; cat")
        line, name = ssh(LINE), ssh("-R", "9000:slow.example:80", NAME)
        for terminal in (line, name):
            terminal.enter("echo is $((40 + 2))\r")
            terminal.expect("is 42")
        pids = {host: int(agent.wait_state(host, "connected")["pid"]) for host in BLOCKED}
        events = agent.events()
        held.expect("ready")
        held.enter("go\n")
        held.expect("y\r\ny")
        line.enter("\r~C")
        line.expect("ssh> ")
        visitor = lab.server.popen([sys.executable, "-I", "-c", CONNECT])
        assert names.stdout.readline() == "asked\n"
        # Press Ctrl-S only while ssh is blocked in a write(2). Earlier, ssh would wait in poll(2) and answer probes.
        until("no master answers", lambda: not any(_answers(lab, host) for host in BLOCKED))
        held.enter("\x13")

        lab.switch("home", "home", gap_s=0.5)
        for host in BLOCKED:
            assert agent.wait_state(host, "waiting")["problem"]["code"] == "suspended"
        before = {host: _silent_probes(agent, host) for host in BLOCKED}
        lab.blackhole(True)
        lab.flap(1)
        until(
            "every master is silent again",
            lambda: all(_silent_probes(agent, host) > before[host] for host in BLOCKED),
        )
        lab.blackhole(False)
        # A wrong login would be a control and end the masters. No event reports that it does not happen.
        time.sleep(1.0)

        held.enter("\x11")
        held.expect("the end")
        line.enter("\r")
        names.stdin.close()
        for host in BLOCKED:
            assert agent.wait_state(host, "connected")["pid"] == pids[host]
        for terminal in (line, name):
            terminal.enter("\recho is $((50 + 2))\r")
            terminal.expect("is 52")
        visitor.kill()
        told = {event["event"] for event in events.drain()}
        assert not told & HARM, told


def _silent_probes(agent: Agent, host: str) -> int:
    """Return how many probes of the host's master the agent has found silent because the master is blocked."""
    lines = (agent.state_dir / "agent.log").read_text().splitlines()
    return sum(f" {host} " in line and "stopped=yes" in line for line in lines)


def _answers(lab: Lab, host: str) -> bool:
    """Report whether a master answers on its control path within half a second."""
    return lab.laptop.run(["timeout", "0.5", "ssh", "-O", "check", host]).returncode == 0
