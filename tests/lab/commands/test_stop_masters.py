"""`trayagent stop --masters` ends only the masters that the agent started."""

from __future__ import annotations

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
CONFIG = "[hosts.web01]\n[hosts.held]\n"


def test_stop_masters_ends_only_the_masters_of_the_agent(lab: Lab, agent: Agent) -> None:
    """The user's own master stays. The next agent connects all hosts again, except one that the user disconnected."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER, "held": SERVER, "mine": SERVER})
    agent.start(CONFIG)
    agent.wait_state("held", "connected")
    ours = agent.wait_state("web01", "connected")["pid"]
    assert lab.laptop.run(["ssh", "-fN", "-M", "mine"]).returncode == 0
    mine = agent.wait_state("mine", "connected")["pid"]
    assert agent.cli("disconnect", "held").returncode == 0
    done = agent.cli("stop", "--masters")
    assert done.stdout == "The agent stops; it ended 1 master.\n", done.stderr
    agent.wait_end()
    assert not alive(ours)
    assert alive(mine)
    agent.start(CONFIG)
    agent.wait_state("web01", "connected")
    until("it stays disconnected", lambda: agent.listed_host("held")["state"] == "idle")
    assert agent.cli("disconnect", "mine").returncode == 0
