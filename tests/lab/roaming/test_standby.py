"""A host with a standby: its spare master on a second network takes over when the first network is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.masters.test_drain import Session
from tests.lab.matrix import until
from tests.lab.roaming.test_roaming_moves import HOST, OPTIONS, Connection
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.firewall import load
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import VPN_SERVER
from trayagent.ssh.os.process import read

CONFIG = f"""
[hosts.{HOST}]
standby = true
local = ["9000:127.0.0.1:8000"]
"""


def begun(lab: Lab, agent: Agent, more: str = "") -> dict[str, Any]:
    """Connect the host by a cable at home, beside the Wi-Fi of the café. Return its view with a spare master."""
    lab.join("home", interface="eth0")
    lab.join("cafe", interface="wlan0")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG + more)
    return spared(agent)


def spared(agent: Agent) -> dict[str, Any]:
    """Wait until the host has a spare master, and return its view."""
    until("a spare master", lambda: (agent.listed_host(HOST)["standby"] or {}).get("ready"), 60.0)
    return agent.listed_host(HOST)


def test_open_sessions_continue_through_the_standby(lab: Lab, agent: Agent) -> None:
    """When the cable's network goes away, the sessions of a roaming host continue through the spare master.

    It becomes the host's outer master without another login.
    """
    before = begun(lab, agent, "roam = true\n")
    assert before["standby"]["interface"] == "wlan0"
    session, connection = Session(lab), Connection(lab, 9000)
    events = agent.events()
    lab.leave("home")
    moved = events.wait("moved", HOST, deadline_s=60.0)
    assert (moved["by"], moved["pid"]) == ("standby", before["standby"]["pid"])
    assert session.echoes()
    assert connection.echoes()
    connected = events.wait("connected", HOST, deadline_s=60.0)
    assert connected["by"] == "standby"
    assert connected["pid"] == before["standby"]["pid"]
    view = agent.wait_state(HOST, "connected")
    assert view["roaming"]["pid"] == before["roaming"]["pid"]
    assert view["interface"] == "wlan0"


def test_a_plain_host_changes_to_the_standby(lab: Lab, agent: Agent) -> None:
    """A pulled cable, whose address stays, makes the spare master of a plain host its master, with its forwards.

    A session of the old master continues when the cable returns. `why` and the next spare master tell the way.
    """
    before = begun(lab, agent)
    agent.wait_forwards(HOST, {"local": "open"})
    session = Session(lab)
    events = agent.events()
    lab.link_down("eth0")
    connected = events.wait("connected", HOST, deadline_s=60.0)
    assert (connected["by"], connected["pid"]) == ("standby", before["standby"]["pid"])
    agent.wait_forwards(HOST, {"local": "open"})
    assert Connection(lab, 9000).echoes()
    assert agent.listed_host(HOST)["control_path"] == before["control_path"]
    lab.link_up("eth0")
    assert session.echoes()
    assert "the standby is in place" in agent.cli("why", HOST).stdout
    assert spared(agent)["standby"]["interface"] == "eth0"
    assert "standby on eth0 ready" in agent.cli("why", HOST).stdout
    assert "standby on eth0 ready" in agent.cli("status", HOST).stdout


COUNTS = """
table ip capture {
 counter seen {}
 chain through {
  type filter hook prerouting priority -300;
  iifname lan ip saddr 10.20.0.2 ip daddr != 203.0.113.2 counter name seen
 }
}
"""
KILL_SWITCH = """
table ip killswitch {
 chain through {
  type filter hook output priority 0;
  oifname { "eth0", "wlan0" } ip daddr != 203.0.113.2 drop
 }
}
"""


def captured(lab: Lab) -> int:
    """Return how many IP packets of the laptop the café's gateway has seen since the last call."""
    words = [tool("nft"), "-j", "reset", "counter", "ip", "capture", "seen"]
    found = json.loads(lab.nodes["cafe"].check(words, admin=True))
    return int(next(one["counter"]["packets"] for one in found["nftables"] if "counter" in one))


@pytest.mark.parametrize("kill_switch", [True, False])
def test_no_packet_of_a_standby_goes_beside_a_full_tunnel(
    lab: Lab, agent: Agent, *, kill_switch: bool
) -> None:
    """When a tunnel for everything comes up, the spare master ends without a packet on its network. None is made."""
    before = begun(lab, agent)
    load(lab.nodes["cafe"], COUNTS)
    if kill_switch:
        load(lab.laptop, KILL_SWITCH)
    lab.laptop.ip(f"route add {VPN_SERVER} via 192.168.10.1 dev eth0")
    captured(lab)
    lab.vpn_up(routes=("0.0.0.0/1", "128.0.0.0/1"))
    until("the spare master ended", lambda: not alive(before["standby"]["pid"]), 60.0)
    until("the tunnel carries it", lambda: agent.listed_host(HOST)["interface"] == "tun0", 60.0)
    agent.wait_state(HOST, "connected")
    assert agent.listed_host(HOST)["no_standby"] == "tunnel"
    assert captured(lab) == 0
    agent.stop()
    agent.start()
    agent.wait_state(HOST, "connected")
    assert agent.listed_host(HOST)["no_standby"] == "tunnel"
    assert captured(lab) == 0


def test_a_standby_in_use_goes_beside_no_tunnel(lab: Lab, agent: Agent) -> None:
    """A standby in use sends nothing beside a tunnel that the routing rules of wg-quick fill, also with another agent.

    A login in the tunnel replaces it.
    """
    begun(lab, agent)
    events = agent.events()
    lab.leave("home")
    assert events.wait("connected", HOST, deadline_s=60.0)["by"] == "standby"
    agent.kill9()
    agent.start()
    agent.wait_state(HOST, "connected")
    session = Session(lab)
    load(lab.nodes["cafe"], COUNTS)
    lab.laptop.ip(f"rule add to {VPN_SERVER} lookup main pref 90")
    lab.vpn_up(routes=())
    captured(lab)
    lab.laptop.ip(
        "route add default dev tun0 table 51820",
        "rule add pref 101 not fwmark 0xca6c lookup 51820",
        "rule add pref 100 lookup main suppress_prefixlength 0",
    )
    until(
        "the agent knows the tunnel", lambda: "sends nothing beside it" in agent.cli("why", HOST).stdout, 60.0
    )
    session.types("line")
    until("the tunnel carries it", lambda: agent.listed_host(HOST)["interface"] == "tun0", 60.0)
    agent.wait_state(HOST, "connected")
    assert captured(lab) == 0


def alive(pid: int) -> bool:
    """Report whether a process runs."""
    process = read(pid)
    return process is not None


def test_no_standby_outlives_its_agent_or_the_user_s_wish(lab: Lab, agent: Agent) -> None:
    """The next agent ends the spare master of a killed one, and makes its own. `disconnect` ends that one."""
    before = begun(lab, agent)
    agent.kill9()
    agent.start()
    until("the earlier spare master ended", lambda: not alive(before["standby"]["pid"]), 60.0)
    now = spared(agent)
    assert now["pid"] == before["pid"]
    agent.cli("disconnect", HOST)
    until("it ended, too", lambda: not alive(now["standby"]["pid"]), 60.0)
    assert agent.listed_host(HOST)["standby"] is None
    assert not agent.records()["attempts"]
