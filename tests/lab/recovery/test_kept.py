"""The agent keeps a living master: the process is the same before and after."""

from __future__ import annotations

import shutil
import time

from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import OTHER
from trayagent.sandbox.network_map import SERVER as ADDRESS

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}

SILENCE = f"""
table inet silent {{
    chain in {{
        type filter hook input priority 0
        ip daddr {ADDRESS} drop
    }}
}}
"""


def connected(lab: Lab, agent: Agent) -> int:
    """Bring web01 up at home; return its pid."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    return int(agent.wait_state("web01", "connected")["pid"])


def test_a_link_that_returns_with_the_same_address_keeps_its_master(lab: Lab, agent: Agent) -> None:
    """After 3 s without carrier the old connection answers, so the agent keeps it."""
    pid = connected(lab, agent)
    events = agent.events()
    lab.link_down()
    agent.wait_state("web01", "offline")
    time.sleep(3)  # the length of the outage
    lab.link_up()
    kept = events.wait("master-kept", "web01")
    assert kept["pid"] == pid
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert "master-stale" not in {e["event"] for e in events.drain()}


def test_a_second_interface_on_the_same_lan_with_a_better_metric_keeps_the_master(
    lab: Lab, agent: Agent
) -> None:
    """New connections would use another source address, but the old one lives, so the agent keeps it."""
    pid = connected(lab, agent)
    events = agent.events()
    lab.join("home", interface="eth0", metric=50)
    kept = events.wait("master-kept", "web01")
    assert kept["pid"] == pid
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert "master-stale" not in {e["event"] for e in events.drain()}


def test_a_flap_at_home_keeps_a_host_whose_key_is_not_checked(lab: Lab, agent: Agent) -> None:
    """After a flap, the gateway is resolved only by the session's own packets. The agent then knows that it is home."""
    router = "192.168.10.1"
    lab.join("home")
    lab.sshd(router, node=lab.nodes["home"])
    lab.ssh_config({"web01": {**SERVER, "HostName": router, "StrictHostKeyChecking": "no"}})
    agent.start('[hosts.web01]\nconnect = "on-use"\n')
    agent.cli("reconnect", "web01")
    pid = agent.wait_state("web01", "connected")["pid"]
    events = agent.events()
    lab.flap(1)
    lab.laptop.check(["ssh", "web01", "true"])
    assert events.wait("master-kept", "web01")["pid"] == pid


def test_another_login_node_ends_no_silent_connection(lab: Lab, agent: Agent) -> None:
    """If a node is silent after a flap, and another node of its name answers, the connection is kept."""
    first, second = lab.sshd(), lab.sshd(OTHER)
    second.stop()
    for name in ("host_key", "host_key.pub"):
        shutil.copy(first.folder / name, second.folder / name)
    second.start()
    names = lab.name_server({"cluster.example": ADDRESS})
    lab.files.known_hosts.write_text(f"cluster.example {first.host_key}\n")
    lab.ssh_config({"web01": {**SERVER, "HostName": "cluster.example"}})
    lab.join("home")
    agent.start("[hosts.web01]\n")
    pid = agent.wait_state("web01", "connected")["pid"]
    names.knows({"cluster.example": OTHER})
    events = agent.events()
    lab.link_down()
    lab.server.check(["nft", "-f", "-"], admin=True, text=SILENCE)
    lab.link_up()
    view = agent.wait_state("web01", "waiting")
    assert view["problem"]["title"] == "Another address of web01 answered; the old connection is silent"
    time.sleep(1)  # longer than a silent master of one address lives
    lab.server.check(["nft", "delete", "table", "inet", "silent"], admin=True)
    assert events.wait("master-kept", "web01")["pid"] == pid
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert "another address of its name answered" in agent.cli("why", "web01").stdout
