"""Forwards given to ssh by hand: `status` shows them, they come back after a move, and `keep` stores them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.masters.test_beside import reached
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
LISTED = f"[hosts.{HOST}]\n"
LOCAL = ["-L", "9001:127.0.0.1:8000"]


def up(lab: Lab, agent: Agent, config: str = LISTED) -> None:
    """Connect the host at home."""
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({HOST: SERVER})
    agent.start(config)


def given(agent: Agent) -> dict[str, str]:
    """Return the states of the forwards that were given by hand, by forward."""
    host = agent.host(HOST)
    return {f["spec"]: f["state"] for f in host["forwards"] if f["by_hand"]} if host is not None else {}


def ssh(lab: Lab, *words: str) -> None:
    """Run ssh, which must succeed."""
    done = lab.laptop.run(["ssh", *words])
    assert done.returncode == 0, done.stderr


@contextmanager
def session(lab: Lab, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Keep a session through the master open."""
    child = lab.laptop.popen(
        ["ssh", *options, HOST, "echo there; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout
        assert child.stdout.readline() == "there\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_forwards_that_were_added_to_a_master_of_the_agent_come_back(lab: Lab, agent: Agent) -> None:
    """Forwards of `ssh -O forward` come back after a move, also with the next agent, until the user cancels them."""
    up(lab, agent)
    lab.echo(8001, node=lab.laptop)
    agent.wait_state(HOST, "connected")
    ssh(lab, "-O", "forward", *LOCAL, HOST)
    ssh(lab, "-O", "forward", "-R", "9002:127.0.0.1:8001", HOST)
    ssh(lab, "-O", "forward", "-D", "9003", HOST)
    ssh(lab, "-O", "forward", "-L", "9004:127.0.0.1:8000", HOST)
    ssh(lab, "-O", "cancel", "-L", "9004:127.0.0.1:8000", HOST)
    everything = {"9001:127.0.0.1:8000": "open", "9002:127.0.0.1:8001": "open", "9003": "open"}
    until("they are found", lambda: given(agent) == everything)
    assert "by hand" in agent.cli("status").stdout
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    until("they are back", lambda: given(agent) == everything)
    assert reached(lab, 9001)
    agent.stop()
    agent.start(LISTED)
    until("the next agent has them", lambda: given(agent) == everything)
    events = agent.events()
    lab.switch("cafe", "home")
    events.wait("connected", HOST)
    until("they are back again", lambda: given(agent) == everything)
    ssh(lab, "-O", "cancel", *LOCAL, HOST)
    until("it is canceled", lambda: "9001:127.0.0.1:8000" not in given(agent))
    assert agent.cli("keep", HOST, "-D", "9003").returncode == 0
    until("it is configured", lambda: list(given(agent)) == ["9002:127.0.0.1:8001"])
    assert agent.cli("disconnect", HOST).returncode == 0
    until("the others ended with the connection", lambda: given(agent) == {})


@pytest.mark.parametrize("words", [["-fN", "-M", *LOCAL], ["-M", "-fN", "-o", "ControlPersist=yes", *LOCAL]])
def test_the_forwards_of_a_master_of_the_user_come_back(lab: Lab, agent: Agent, words: list[str]) -> None:
    """The agent reads the forwards from the command line of the user's master, so they come back after a move."""
    up(lab, agent, "")
    ssh(lab, *words, HOST)
    until("it is found", lambda: given(agent) == {"9001:127.0.0.1:8000": "open"})
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    until("it is back", lambda: given(agent) == {"9001:127.0.0.1:8000": "open"})
    assert reached(lab, 9001)


def test_a_session_tells_its_forwards_while_it_lives(lab: Lab, agent: Agent) -> None:
    """At the move, the agent finds the forward of an open `ssh -L`. It reports an earlier `-O forward` as unknown."""
    up(lab, agent, "")
    ssh(lab, "-fN", "-M", HOST)
    agent.wait_state(HOST, "connected")
    events = agent.events()
    ssh(lab, "-O", "forward", "-L", "9005:127.0.0.1:8000", HOST)
    with session(lab, *LOCAL):
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        until("it is back", lambda: given(agent) == {"9001:127.0.0.1:8000": "open"})
    named = [e["listen"] for e in events.seen if e["event"] == "forward-unknown"]
    assert named == ["127.0.0.1:9005"]
    assert "forward of 127.0.0.1:9005 ended with the old connection" in agent.cli("status").stdout
