"""An agent without a tray, started at a terminal, prints what needs the user."""

from __future__ import annotations

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab


def test_a_vpn_that_goes_down_is_reported_at_the_terminal(lab: Lab, agent: Agent) -> None:
    """After the VPN's grace period, one line reports that the VPN needs a sign-in, although no host uses the VPN."""
    lab.join("home")
    lab.ssh_config({})
    lab.vpn_up()
    agent.configure('[agent]\nadopt = false\n[vpns.corp]\ninterface = "tun*"\ngrace = "1s"\n')
    with agent.at_terminal("run", "--no-tray") as terminal:
        terminal.expect("manages")
        until("the VPN is up", lambda: [vpn["state"] for vpn in agent.status()["vpns"]] == ["up"], 10.0)
        lab.vpn_down()
        terminal.expect("VPN corp needs you to sign in (trayagent status)")
        terminal.enter("\x03")
        assert terminal.ended() == 0
        assert terminal.shown.count("needs you") == 1
