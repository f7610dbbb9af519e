"""A master is one thread: while it is busy with something else, its silence says nothing about its connection."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

from tests.lab.at_terminal import AtTerminal
from tests.lab.matrix import HARM, OPTIONS, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import NAME_SERVER

# Reports the first query, and answers that no such name exists once its input ends.
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
    """A terminal held by Ctrl-S, an open ~C command line, a forward to a name that nobody resolves: all are kept."""
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
        # ssh is within a long write now. Before one, it would only wait until it may write, and answer meanwhile.
        until("no master answers", lambda: not any(_answers(lab, host) for host in BLOCKED))
        held.enter("\x13")

        lab.switch("home", "home", gap_s=0.5)
        for host in BLOCKED:
            assert agent.wait_state(host, "waiting")["problem"]["code"] == "suspended"
        lab.blackhole(True)
        lab.flap(1)
        time.sleep(1.5)  # the gap: long enough for both questions
        lab.blackhole(False)
        time.sleep(1.0)  # long enough for a login, which would be a control

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


def _answers(lab: Lab, host: str) -> bool:
    """Report whether a master answers on its control path within half a second."""
    return lab.laptop.run(["timeout", "0.5", "ssh", "-O", "check", host]).returncode == 0
