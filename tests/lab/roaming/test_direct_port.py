"""A host that roams with `roam_port`: its sessions continue through a TCP port before the next login."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.lab.masters.test_drain import Session
from tests.lab.matrix import until
from tests.lab.roaming.test_roaming_moves import HOST, OPTIONS, Connection, roams
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER, SERVER_6

PORT = 60001
CONFIG = f"""
[hosts.{HOST}]
roam = true
roam_port = "{PORT}-{PORT + 2}"
local = ["9000:127.0.0.1:8000"]
"""

TAKES_PORTS = """
import socket, sys, time
taken = [socket.create_server((sys.argv[1], int(sys.argv[2]) + number)) for number in range(3)]
print("taken", flush=True)
time.sleep(600)
"""


def begun(lab: Lab, agent: Agent, server: str = SERVER) -> dict[str, Any]:
    """Connect the host from home, and return its view once it roams."""
    lab.join("home")
    if not lab.servers:
        lab.sshd()
    lab.echo(8000)
    lab.ssh_config({HOST: {**OPTIONS, "HostName": server}})
    agent.start(CONFIG)
    return roams(agent)


def test_sessions_move_by_the_port_before_the_login(lab: Lab, agent: Agent) -> None:
    """After each move, the sessions continue by the port. Then the new outer master leaves them there.

    One move has a gap, and one leads back. `moved` and `why` name the port, and the agent reports each move once.
    """
    before = begun(lab, agent)
    assert before["roaming"]["port"] == PORT
    session, connection = Session(lab), Connection(lab, 9000)
    for number, (left, joined, gap_s) in enumerate((("home", "cafe", 0.0), ("cafe", "home", 1.0))):
        events = agent.events()
        lab.switch(left, joined, gap_s=gap_s)
        moved = events.wait("moved", HOST, deadline_s=60.0)
        assert (moved["by"], moved["sessions"]) == ("port", 1)
        assert session.echoes()
        assert connection.echoes()
        connected = events.wait("connected", HOST, deadline_s=60.0)
        view = agent.wait_state(HOST, "connected")
        assert view["roaming"]["moves"] == number + 1
        assert view["roaming"]["by"] == "port"
        assert view["roaming"]["pid"] == before["roaming"]["pid"]
        assert connected["pid"] == view["pid"] != before["pid"]
        assert session.echoes()
    assert not [one for one in events.seen if one["event"] == "moved"][1:]
    assert "through the direct port" in agent.cli("why", HOST).stdout
    assert session.end() == 0


def test_a_taken_port_leaves_the_channel_and_is_reported(lab: Lab, agent: Agent) -> None:
    """If other programs have all ports of the range, moves use the outer master, and `status` says why."""
    words = [sys.executable, "-I", "-c", TAKES_PORTS, SERVER, str(PORT)]
    taken = lab.server.popen(words, stdout=subprocess.PIPE)
    assert taken.stdout is not None and taken.stdout.readline()
    begun(lab, agent)
    session = Session(lab)
    events = agent.events()
    lab.switch("home", "cafe")
    assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "channel"
    assert session.echoes()
    assert roams(agent)["roaming"]["no_port"] == "taken"
    assert "roam_port is taken" in agent.cli("status", HOST).stdout
    taken.kill()
    taken.communicate()


def test_a_firewalled_port_delays_nothing_and_is_reported_once(lab: Lab, agent: Agent) -> None:
    """If a gateway drops the port's packets, the sessions move by the outer master. `status` names the port."""
    begun(lab, agent)
    session = Session(lab)
    lab.lose_connection("cafe", PORT)
    lab.lose_connection("office", PORT)
    for left, joined in (("home", "cafe"), ("cafe", "office")):
        events = agent.events()
        lab.switch(left, joined)
        assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "channel"
        assert session.echoes()
    until("reported", lambda: roams(agent)["roaming"]["no_port"] == "unreachable", 60.0)
    assert f"port {PORT} of its server does not answer" in agent.cli("status", HOST).stdout
    events = agent.events()
    lab.switch("office", "home")
    assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "port"
    assert session.echoes()


def test_a_reset_of_the_port_costs_no_session(lab: Lab, agent: Agent) -> None:
    """If the connection to the port is lost while the outer master lives, that master carries the link."""
    begun(lab, agent)
    session = Session(lab)
    events = agent.events()
    lab.switch("home", "cafe")
    assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "port"
    events.wait("connected", HOST, deadline_s=60.0)
    before = agent.wait_state(HOST, "connected")
    lab.server.check(["ss", "-K", "sport", "=", f":{PORT}"], admin=True)
    until("moved to the channel", lambda: roams(agent)["roaming"]["by"] == "channel", 60.0)
    assert session.echoes()
    assert agent.wait_state(HOST, "connected")["pid"] == before["pid"]


@pytest.mark.parametrize("lab", [{"ipv6": True}], indirect=True)
def test_sessions_move_by_the_port_of_an_ipv6_address(lab: Lab, agent: Agent) -> None:
    """The port is at the address that the laptop reached, also if that is an IPv6 address."""
    lab.join("home")
    lab.sshd(SERVER_6)
    lab.ssh_config({HOST: {**OPTIONS, "HostName": SERVER_6}})
    agent.start(f"[hosts.{HOST}]\nroam = true\nroam_port = {PORT}\n")
    assert roams(agent)["roaming"]["port"] == PORT
    session = Session(lab)
    events = agent.events()
    lab.switch("home", "cafe")
    assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "port"
    assert session.echoes()
