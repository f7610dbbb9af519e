"""Connections that the kernel moves to another address (MPTCP): the agent keeps a living master."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.matrix import HOST, OPTIONS, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import VPN_SERVER
from trayagent.sandbox.ssh_config_of_laptop import over_mptcp

pytestmark = pytest.mark.skipif(not Path("/proc/sys/net/mptcp").exists(), reason="this kernel has no MPTCP")

SCRIPT = Path(__file__).parents[3] / "installers" / "linux" / "nm-dispatcher-mptcp"
PREFIX = {"home": "192.168.10", "cafe": "10.20.0"}


@pytest.mark.parametrize("gap_s", [0.0, 1.0])
def test_a_master_that_moves_along_is_kept(lab: Lab, agent: Agent, gap_s: float) -> None:
    """From home to the café and back, with or without a gap, the master's process stays and its session continues."""
    lab.set_mptcp(True)
    lab.join("home")
    lab.sshd(mptcp=True)
    lab.ssh_config({HOST: OPTIONS})
    own = lab.laptop.popen(["ssh", "-M", "-N", *over_mptcp(), HOST])
    until("a master", lambda: listener(lab) == own.pid)
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    events = agent.events()
    with lab.traffic("down", HOST) as traffic:
        for old, new in (("home", "cafe"), ("cafe", "home")):
            traffic.wait(1)
            lab.switch(old, new, gap_s=gap_s)
            assert events.wait("master-kept", HOST, deadline_s=20)["pid"] == own.pid
            traffic.wait(1_000_000)
    told = {e["event"] for e in events.drain() if e["host"] == HOST}
    assert not told & {"master-stale", "master-killed", "disconnected"}, told
    assert listener(lab) == own.pid
    assert agent.wait_state(HOST, "connected")["pid"] == own.pid


def doctor(agent: Agent) -> dict[str, str]:
    """Run doctor, and return its finding about Multipath TCP."""
    findings = json.loads(agent.cli("doctor", "--json").stdout)["findings"]
    return next(one for one in findings if one["code"].startswith("mptcp"))


def dispatch(lab: Lab) -> None:
    """Run the dispatcher script as NetworkManager does: as root of the laptop, after a connection came up."""
    env = {"TRAYAGENT_MPTCP_FOLDER": str(lab.files.root / "mptcp"), "TRAYAGENT_MPTCP_JOIN_S": "0.3"}
    done = lab.laptop.run(["sh", str(SCRIPT), "wlan0", "up"], admin=True, env=env)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_agent_s_own_connection_moves_along(lab: Lab, agent: Agent) -> None:
    """Once doctor has seen the server, four moves with a new address each keep the agent's master and its session.

    No login is made meanwhile. `why` and the history say that the kernel moved it, and the agent's successor knows it.
    """
    lab.set_mptcp(True)
    lab.join("home")
    server = lab.sshd(mptcp=True)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    assert agent.wait_state(HOST, "connected")["mptcp"] is False
    assert doctor(agent)["code"] == "mptcp"
    assert agent.cli("reconnect", "--now", HOST).returncode == 0
    before = agent.wait_state(HOST, "connected")
    assert before["mptcp"] is True
    dispatch(lab)
    logins, events = server.logins(), agent.events()
    with lab.traffic("down", HOST) as traffic:
        traffic.wait(1)
        for number, (old, new) in enumerate((("home", "cafe"), ("cafe", "home")) * 2):
            lab.leave(old)
            lab.join(new, address=f"{PREFIX[new]}.{30 + number}")
            kept = dict(events.wait("master-kept", HOST)["pairs"])
            assert kept["by"] == "mptcp"
            traffic.wait(200_000)
            dispatch(lab)
    assert agent.wait_state(HOST, "connected")["pid"] == before["pid"]
    assert server.logins() == logins + 1  # the session of the traffic has its own
    [*_, outage] = json.loads(agent.cli("history", "--json").stdout)["outages"]
    assert (outage["moved_by"], outage["moved_ms"] > 0) == ("mptcp", True)
    assert "(MPTCP)" in agent.cli("why", HOST).stdout
    agent.kill9()
    agent.start()
    assert agent.wait_state(HOST, "connected")["mptcp"] is True


def test_a_network_that_drops_it_costs_one_wait(lab: Lab, agent: Agent) -> None:
    """Where a gateway drops Multipath TCP, one connection tries it. Later ones do not, also of the next agent."""
    lab.set_mptcp(True)
    lab.join("home")
    lab.sshd(mptcp=True)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    assert doctor(agent)["code"] == "mptcp"
    lab.set_mptcp_box("cafe", "drop")
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    assert agent.listed_host(HOST)["mptcp"] is False
    assert lab.mptcp_packets("cafe") == 1
    until("the network is in the records", lambda: agent.records()["hosts"][HOST]["mptcp"]["plain_on"])
    agent.kill9()
    agent.start()
    assert agent.cli("reconnect", "--now", HOST).returncode == 0
    assert lab.mptcp_packets("cafe") == 1
    assert doctor(agent)["code"] == "mptcp-dropped"


def test_nothing_goes_beside_a_tunnel(lab: Lab, agent: Agent) -> None:
    """If a full tunnel is up, no packet of Multipath TCP goes beside it, also after a move to another network.

    If the tunnel comes up later, a login in it replaces the connection, and then nothing goes beside it either. After
    the tunnel, connections stay plain, also those of the next agent.
    """
    lab.set_mptcp(True)
    lab.join("home")
    lab.sshd(mptcp=True)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    assert doctor(agent)["code"] == "mptcp"
    assert agent.cli("reconnect", "--now", HOST).returncode == 0
    assert agent.wait_state(HOST, "connected")["mptcp"] is True
    events = agent.events()
    lab.laptop.ip(f"route add {VPN_SERVER}/32 via 192.168.10.1 dev wlan0")
    lab.vpn_up(routes=("0.0.0.0/1", "128.0.0.0/1"))
    events.wait("connected", HOST)
    host = agent.wait_state(HOST, "connected")
    assert (host["mptcp"], host["interface"]) == (False, "tun0")
    for network in ("home", "cafe"):
        lab.set_mptcp_box(network, "pass")
    assert agent.cli("reconnect", "--now", HOST).returncode == 0
    with lab.traffic("down", HOST) as traffic:
        lab.switch("home", "cafe")
        lab.laptop.ip(f"route add {VPN_SERVER}/32 via 10.20.0.1 dev wlan0")
        events.wait("master-kept", HOST, deadline_s=20)
        traffic.wait(200_000)
    lab.vpn_down()
    agent.kill9()
    agent.start()
    agent.cli("reconnect", "--now", HOST)
    assert agent.wait_state(HOST, "connected")["interface"] == "wlan0"
    assert [lab.mptcp_packets(network) for network in ("home", "cafe")] == [0, 0]
