"""The agent with a real NetworkManager and a real OpenVPN server: when it asks the user to sign in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab
from trayagent.sandbox.network_map import INTERNAL
from trayagent.sandbox.networkmanager import NetworkManager
from trayagent.sandbox.openvpn import OpenVpn

VPN = "Corp VPN"
CONFIG = f"""
[hosts.web]
[hosts.db]
vpn = "corp"
[vpns.corp]
interface = "tun*"
networkmanager = "{VPN}"
grace = "3s"
"""


class Scene:
    """A laptop with NetworkManager, an agent, a host on the internet, and one behind the VPN."""

    def __init__(self, lab: Lab, agent: Agent) -> None:
        self.agent = agent
        self.manager = NetworkManager(lab)
        self.manager.join("home")
        self.server = OpenVpn(lab, password="right")  # noqa: S106 - exists only in this laboratory
        lab.sshd()
        lab.sshd(INTERNAL)
        path: dict[str, str | int] = {"ControlPath": "~/.ssh/cm-%C", "ConnectTimeout": 3}
        lab.ssh_config({"web": {"HostName": "203.0.113.10", **path}, "db": {"HostName": INTERNAL, **path}})
        agent.env["DBUS_SYSTEM_BUS_ADDRESS"] = self.manager.bus_address

    def begin(self, password: str) -> None:
        """Save the VPN with that password, and start the agent."""
        self.manager.add_vpn(VPN, self.server, password=password)
        self.agent.start(CONFIG)
        self.agent.wait_state("web", "connected")
        assert self.agent.status()["network"]["name"] == "home network"

    def wait_vpn(self, state: str, deadline_s: float = 15.0) -> None:
        """Wait until `status` shows the VPN in that state."""
        limit = time.monotonic() + deadline_s
        while (seen := self.agent.status()["vpns"][0]["state"]) != state:
            assert time.monotonic() < limit, f"{seen}, not {state}"
            time.sleep(0.05)

    def asked(self) -> list[str]:
        """Return the lines of the agent's log that ask the user to sign in to a VPN."""
        lines = self.agent.state_dir.joinpath("agent.log").read_text().splitlines()
        return [line for line in lines if " sign-in-needed " in line]


@pytest.fixture
def scene(lab: Lab, agent: Agent) -> Iterator[Scene]:
    """Build the scene. If the machine cannot run it, skip, but not in CI."""
    try:
        made = Scene(lab, agent)
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    yield made
    if agent.pid:
        agent.stop()


def test_taken_down_by_the_user_it_is_down_without_a_message_and_its_host_returns_with_it(
    scene: Scene,
) -> None:
    """A VPN that the user takes down is `down`, without a message. Its host waits, and returns with the VPN."""
    scene.begin("right")
    assert scene.agent.host("db") is not None
    scene.manager.up(VPN)
    scene.agent.wait_state("db", "connected")
    assert scene.agent.status()["vpns"][0]["state"] == "up"
    scene.manager.down(VPN)
    scene.agent.wait_state("db", "needs-vpn")
    time.sleep(4)  # longer than the VPN's grace period
    assert scene.agent.status()["vpns"][0]["state"] == "down"
    assert scene.asked() == []
    scene.manager.up(VPN)
    scene.agent.wait_state("db", "connected")


def test_a_refused_password_asks_the_user_once_and_its_host_follows_the_sign_in(scene: Scene) -> None:
    """A refused password gives `needs-sign-in` and one event. The right password brings VPN and host up."""
    scene.begin("wrong")
    scene.manager.up(VPN)
    scene.wait_vpn("needs-sign-in")
    view = scene.agent.status()
    assert view["vpns"][0]["problem"]["code"] == "vpn-needs-sign-in"
    assert scene.agent.wait_state("db", "needs-vpn")["problem"]["code"] == "vpn-down"
    assert len(scene.asked()) == 1
    scene.manager.check("connection", "modify", VPN, "vpn.secrets", "password=right")
    scene.manager.up(VPN)
    scene.agent.wait_state("db", "connected")
    assert scene.agent.status()["vpns"][0]["state"] == "up"
    assert len(scene.asked()) == 1


def test_a_dead_server_behind_a_tunnel_that_is_up_asks_the_user(scene: Scene) -> None:
    """If NetworkManager reports the VPN as up, but only the internet answers, the agent asks the user once."""
    scene.begin("right")
    scene.manager.up(VPN)
    before = scene.agent.wait_state("db", "connected")
    scene.server.kill()
    done = scene.agent.cli("reconnect", "db")
    assert done.returncode == 1
    assert (scene.agent.host("db") or {})["pid"] == before["pid"], "nothing is proven, so nothing is killed"
    # The reconnect also probed the old connection, which is silent.
    scene.wait_vpn("needs-sign-in")
    assert len(scene.asked()) == 1
