"""`reconnect` without a host lists the hosts that it leaves out."""

from __future__ import annotations

from tests.lab.logins.test_logins import SERVER, other_key
from trayagent.sandbox import Agent, Lab


def test_reconnect_names_the_hosts_that_it_leaves_out(lab: Lab, agent: Agent) -> None:
    """The output names a refused host and a disconnected host, each with the reason. The others are connected."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({name: {**SERVER, "ControlPath": f"~/.ssh/cm-{name}"} for name in ("web01", "off")})
    agent.start("[hosts.web01]\n[hosts.off]\n")
    for name in ("web01", "off"):
        agent.wait_state(name, "connected")
    assert agent.cli("disconnect", "off").returncode == 0
    done = agent.cli("reconnect")
    assert "web01: connected" in done.stdout
    assert "Left out: off was disconnected by you. To try anyway: trayagent reconnect off" in done.stdout
    other_key(lab)
    assert agent.cli("reconnect", "off").returncode == 1
    agent.wait_state("off", "needs-sign-in")
    assert "off was refused" in agent.cli("reconnect").stdout
