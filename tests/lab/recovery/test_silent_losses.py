"""Connections that are lost without any event of the kernel: the agent finds them when they are used."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.lab.matrix import HARM, OPTIONS, laboratory, logged, until
from trayagent.agent.masters.watch_use import ARM_AFTER_S, FIRST_LOOK_S
from trayagent.sandbox import Agent, Lab

TALK = """
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(9).decode(), end='', flush=True)
"""
FOUND_S = 20.0  # about 4 s on an idle machine; without the agent's look, the keep-alive needs 180 s
NAMES = ("kept", "open-session", "open-connection", "new-session", "new-connection")


@pytest.fixture
def connected() -> Iterator[tuple[Lab, Agent]]:
    """Connect a host for each use, each with a connection and a forward of its own."""
    with laboratory() as lab, Agent(lab) as agent, logged(agent):
        lab.join("home")
        lab.sshd()
        lab.echo(8000)
        lab.ssh_config({name: {**OPTIONS, "ControlPath": "~/.ssh/cm-%n"} for name in NAMES})
        forwards = (f'[hosts.{name}]\nlocal = ["{port_of(name)}:127.0.0.1:8000"]\n' for name in NAMES)
        agent.start("".join(forwards))
        for name in NAMES:
            agent.wait_forwards(name, {"local": "open"})
        yield lab, agent


def port_of(name: str) -> int:
    """Return the port of a host's forward."""
    return 9000 + NAMES.index(name)


@contextlib.contextmanager
def program(lab: Lab, name: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of the user that answers each line through this host."""
    words = ["ssh", name, "cat"]
    if name.endswith("connection"):
        words = [sys.executable, "-I", "-c", TALK, str(port_of(name))]
    child = lab.laptop.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield child
    child.kill()


def send(child: subprocess.Popen[str]) -> None:
    """Send one line."""
    assert child.stdin is not None
    child.stdin.write("x\n")
    child.stdin.flush()


def answered(child: subprocess.Popen[str]) -> bool:
    """Send one line. Wait for the answer, and report whether one came."""
    send(child)
    assert child.stdout is not None
    return child.stdout.readline() == "x\n"


def test_a_lost_connection_is_found_at_its_first_use(connected: tuple[Lab, Agent]) -> None:
    """A router forgets idle connections. Their first use shows that, and each of them is replaced in seconds.

    The connection that still works is used, too. It is kept.
    """
    lab, agent = connected
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(program(lab, name)) for name in NAMES if "new" not in name}
        assert all(map(answered, running.values()))
        time.sleep(ARM_AFTER_S + 1.0)  # until the agent watches the new connections
        before = {name: agent.wait_state(name, "connected") for name in NAMES}
        for name in NAMES[1:]:
            lab.lose_connection("home", int(before[name]["local"].rpartition(":")[2]))
        events = agent.events()
        for name in NAMES:
            if name not in running:
                running[name] = stack.enter_context(program(lab, name))
            send(running[name])
        lost = {*NAMES[1:]}
        while lost:
            event = events.wait("connected", deadline_s=FOUND_S)
            assert event["pid"] != before[event["host"]]["pid"]
            lost.remove(event["host"])
        time.sleep(FIRST_LOOK_S)
        assert answered(running["kept"])
        told = [event["event"] for event in (*events.seen, *events.drain()) if event["host"] == "kept"]
        assert not HARM & set(told), told


def next_packet_s(lab: Lab) -> int:
    """Return in how many seconds the laptop's only established connection sends again, 0 below ten seconds."""
    said = lab.laptop.run(["ss", "-Htno", "state", "established", "dport", "=", ":22"]).stdout
    found = re.search(r"timer:\(on,(\d+)sec", said)
    return int(found[1]) if found else 0


@pytest.mark.slow
def test_a_session_survives_a_hole_in_which_tcp_backs_off() -> None:
    """A master that you started backs off as TCP does. After a hole the agent waits, and the session goes on."""
    with laboratory() as lab, Agent(lab) as agent, logged(agent):
        lab.join("home")
        lab.sshd()
        lab.ssh_config({"web01": OPTIONS})
        agent.start("")
        master = lab.laptop.popen(["ssh", "-M", "-N", "web01"])
        before = agent.wait_state("web01", "connected")
        with program(lab, "web01") as session:
            assert answered(session)
            time.sleep(ARM_AFTER_S + 1.0)  # until the agent watches the session
            lab.blackhole(True)
            send(session)
            # The kernel doubles its wait each time. The hole ends when the next one is so long that a control succeeds
            # before it ends.
            until("TCP waits long", lambda: next_packet_s(lab) > 9, 60.0)
            lab.blackhole(False)
            assert session.stdout is not None
            assert session.stdout.readline() == "x\n"
            assert answered(session)
        assert agent.wait_state("web01", "connected")["pid"] == before["pid"] == master.pid
        assert "gets one more chance" in agent.cli("why", "web01").stdout
        master.kill()
