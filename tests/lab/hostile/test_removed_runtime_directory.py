"""The runtime directory is removed while the agent runs, as a program that cleans up old files does."""

from __future__ import annotations

import os
import shutil
import signal

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab

# The first host has a control path in the runtime directory, too.
CONFIG = "[hosts.web01]\n[hosts.web02]\n"


def test_the_agent_makes_its_runtime_directory_again(lab: Lab, agent: Agent) -> None:
    """The same agent answers again, no second one starts, no master ends, and a move is recovered as before."""
    lab.join("home")
    lab.sshd()
    server = {"HostName": "203.0.113.10"}
    lab.ssh_config({"web01": server, "web02": {**server, "ControlPath": "~/.ssh/cm-%n"}})
    agent.start(CONFIG)
    pids = {name: agent.wait_state(name, "connected")["pid"] for name in ("web01", "web02")}
    watcher = agent.events()
    for _ in range(2):
        shutil.rmtree(agent.runtime_dir)
        until("the agent answers", (agent.runtime_dir / "agent.sock").exists)
        second = agent.cli("run", "--no-tray")
        assert f"pid {agent.pid}" in second.stderr, second
    assert agent.runtime_dir.stat().st_mode & 0o777 == 0o700
    assert agent.listed_host("web02")["pid"] == pids["web02"]
    assert alive(pids["web02"])
    lab.switch("home", "cafe")
    watcher.wait("connected", "web02")
    assert agent.wait_state("web02", "connected")["pid"] != pids["web02"]
    agent.wait_state("web01", "connected")
    os.kill(agent.wait_state("web02", "connected")["pid"], signal.SIGKILL)
    watcher.wait("connected", "web02")
    expected = {"agent.sock", "agent.lock", "cm"}
    expected |= {f"master-{h['pid']}.{kind}" for h in agent.status()["hosts"] for kind in ("log", "err")}
    until("no other file is left", lambda: {p.name for p in agent.runtime_dir.iterdir()} <= expected)
    assert (agent.state_dir / "agent.log").read_text().count("was removed") == 2


def test_an_agent_that_finds_another_one_in_its_place_ends(lab: Lab, agent: Agent) -> None:
    """If a second agent was faster than the first one, the first one ends and leaves the masters to it."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web02": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}})
    agent.start("[hosts.web02]\n")
    pid, first = agent.wait_state("web02", "connected")["pid"], agent.pid
    assert first is not None
    lab.suspend([first])
    shutil.rmtree(agent.runtime_dir)
    with Agent(lab) as second:
        second.start()
        lab.resume([first])
        until("the first agent ended", lambda: not alive(first))
        assert second.wait_state("web02", "connected")["pid"] == pid
        assert second.cli("status").returncode == 0
