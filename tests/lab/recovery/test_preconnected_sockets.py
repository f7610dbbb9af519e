"""Masters that use a pre-connected socket from the agent."""

from __future__ import annotations

from pathlib import Path

from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
CONFIG = "[hosts.web01]\n"
# A wrapper of the real ssh that rejects ProxyUseFdpass, as an old ssh would.
OLD_SSH = """#!/bin/sh
case "$*" in *ProxyUseFdpass*) echo "Bad configuration option" >&2; exit 255;; esac
exec '{ssh}' "$@"
"""


def words(pid: object) -> str:
    """Return the command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_a_master_takes_the_connection_and_nothing_stays_beside_it(lab: Lab, agent: Agent) -> None:
    """The master uses the agent's socket, the helper has ended, and `status` shows the connection's addresses."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start(CONFIG)
    host = agent.wait_state("web01", "connected")
    assert "ProxyUseFdpass=yes" in words(host["pid"])
    assert not Path(f"/proc/{host['pid']}/task/{host['pid']}/children").read_text()
    assert host["peer"] == "203.0.113.10:22"
    assert str(host["local"]).startswith("192.168.10.2:")
    assert not list(agent.runtime_dir.glob("connection-*"))


def test_an_ssh_that_cannot_take_the_socket_connects_itself(lab: Lab, agent: Agent, tmp_path: Path) -> None:
    """If ssh cannot take the socket, the host is still connected at the first attempt."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    ssh = tmp_path / "ssh"
    ssh.write_text(OLD_SSH.format(ssh=agent.env["TRAYAGENT_SSH"]))
    ssh.chmod(0o755)
    agent.env["TRAYAGENT_SSH"] = str(ssh)
    agent.start(CONFIG)
    host = agent.wait_state("web01", "connected")
    assert "ProxyUseFdpass" not in words(host["pid"])
    assert host["attempt"] == 0


def test_why_there_is_no_connection_is_known_of_a_master_in_the_background(lab: Lab, agent: Agent) -> None:
    """The problem names the closed port, although an ssh in the background hides its helper's message."""
    lab.join("home")
    lab.ssh_config({"web01": SERVER})
    agent.start('[hosts.web01]\nconnect = "on-use"\n')
    agent.cli("reconnect", "web01")
    problem = agent.status()["hosts"][0]["problem"]
    assert problem["title"] == "web01 refused the connection"
    assert "port 22" in problem["hint"]
