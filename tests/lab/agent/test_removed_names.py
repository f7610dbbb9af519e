"""Names that the user removes from ssh_config while their connections are up."""

from __future__ import annotations

import pytest

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab

pytestmark = pytest.mark.lab

ADDRESS = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}


def test_a_removed_alias_keeps_its_connection_but_gets_no_login(lab: Lab, agent: Agent) -> None:
    """After the next move the agent ends it and forgets the name, also if another agent has started meanwhile."""
    lab.join("home")
    server = lab.sshd()
    names = ("web01", "old", "older")
    lab.ssh_config(dict.fromkeys(names, ADDRESS))
    agent.start("".join(f"[hosts.{name}]\n" for name in names))
    pids = {name: agent.wait_state(name, "connected")["pid"] for name in names}
    lab.ssh_config(dict.fromkeys(("web01", "old"), ADDRESS))
    agent.configure("[hosts.web01]\n[hosts.old]\n")
    until("the first name was removed", lambda: "you removed its name" in agent.cli("why", "older").stdout)
    agent.kill9()
    lab.ssh_config({"web01": ADDRESS})
    agent.configure("[hosts.web01]\n")
    agent.start()
    until("the second, too", lambda: "you removed its name" in agent.cli("why", "old").stdout)
    assert all(alive(pid) for pid in pids.values())
    logins = server.logins()
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01")
    until("only one name is left", lambda: [h["name"] for h in agent.status()["hosts"]] == ["web01"])
    assert not alive(pids["old"])
    assert not alive(pids["older"])
    assert server.logins() == logins + 1
    assert "1 of 1 connected" in agent.cli("status").stdout
