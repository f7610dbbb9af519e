"""Two hosts with the same control path: only one can be connected, and it owns the master."""

from __future__ import annotations

import json

import pytest

from tests.lab.matrix import HARM, alive, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL, JUMP, SERVER

SHARED = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-all"}


@pytest.fixture
def two_servers(lab: Lab) -> Lab:
    """Write two hosts with one control path into ssh_config."""
    lab.join("home")
    for port in (22, 2222):
        lab.sshd(port=port)
    lab.ssh_config({"web01": SHARED, "web02": {**SHARED, "Port": 2222}})
    return lab


@pytest.mark.parametrize(
    ("listed", "background"),
    [(("web02", "web01"), False), (("web02",), True)],
    ids=["both are listed", "one is listed, and the master is in the background"],
)
def test_a_disconnect_ends_no_master_of_another_host(
    two_servers: Lab, agent: Agent, listed: tuple[str, ...], background: bool
) -> None:
    """`status` shows the master at the host whose server it leads to. The other host's problem names the first host."""
    own = two_servers.laptop.popen(["ssh", "-M", "-N", *(["-f"] if background else []), "web01"])
    until("a master", lambda: listener(two_servers, "web01"))
    pid = listener(two_servers, "web01")
    assert pid is not None
    assert background or own.pid == pid
    agent.start("".join(f"[hosts.{name}]\n" for name in listed))
    assert agent.wait_state("web01", "connected")["pid"] == pid
    problem = agent.wait_state("web02", "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert problem["title"].startswith("web02 shares its control path with web01: ")
    agent.cli("disconnect", "web02")
    agent.wait_state("web02", "idle")
    agent.cli("reconnect", "web02")
    agent.wait_state("web02", "failed")
    assert listener(two_servers, "web01") == pid


@pytest.mark.usefixtures("two_servers")
def test_the_other_host_connects_once_the_path_is_free(agent: Agent) -> None:
    """Only one of the two hosts is connected. When the user disconnects it, the other one connects."""
    agent.start("[hosts.web01]\n[hosts.web02]\n")
    until(
        "one is connected", lambda: {h["state"] for h in agent.status()["hosts"]} == {"connected", "failed"}
    )
    up = next(host for host in agent.status()["hosts"] if host["state"] == "connected")
    other = {"web01": "web02", "web02": "web01"}[up["name"]]
    events = agent.events()
    agent.cli("disconnect", other)
    assert alive(up["pid"])
    agent.cli("reconnect", other)
    agent.wait_state(other, "failed")
    assert not {event["event"] for event in events.drain() if event["host"] == up["name"]} & HARM
    agent.cli("disconnect", up["name"])
    assert agent.wait_state(other, "connected")["pid"] != up["pid"]


def test_a_master_belongs_to_the_name_with_its_jump_host(lab: Lab, agent: Agent) -> None:
    """The name whose jump host the master uses gets it, and brings it back. `init`, `doctor` and the other name agree.

    ssh has forgotten which name was typed. The other name leads to the same account, but without the jump host.
    """
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(INTERNAL)
    shared = {"HostName": INTERNAL, "ControlPath": "~/.ssh/cm-inner"}
    lab.ssh_config({"corpdb": shared, "jump": {"HostName": JUMP}, "app01": {**shared, "ProxyJump": "jump"}})
    lab.laptop.check(["ssh", "-M", "-f", "-N", "-o", "ControlPersist=yes", "app01"])
    assert "[hosts.app01]" in agent.cli("init", "--print").stdout
    agent.start("[hosts.corpdb]\n")
    before = agent.wait_state("app01", "connected")
    problem = agent.wait_state("corpdb", "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert problem["title"].startswith("corpdb shares its control path with app01: ")
    assert "%C-%n" in problem["hint"]
    findings = json.loads(agent.cli("doctor", "--json").stdout)["findings"]
    route = next(one for one in findings if one["code"] == "control-path-route")
    assert "connects through jump, but ssh_config connects without" in route["title"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "app01")
    assert agent.wait_state("app01", "connected")["pid"] != before["pid"]
