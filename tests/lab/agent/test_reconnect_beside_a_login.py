"""`reconnect` while a user logs in to the same host at a terminal."""

from __future__ import annotations

from tests.lab.at_terminal import AtTerminal
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
ASKS = {**SERVER, "StrictHostKeyChecking": "ask", "UserKnownHostsFile": "/dev/null"}


def test_reconnect_does_not_wait_for_a_user_at_a_prompt(lab: Lab, agent: Agent) -> None:
    """`reconnect` reports the other login immediately and continues with other hosts.

    The login continues undisturbed.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": ASKS, "web02": SERVER})
    agent.start("[hosts.web01]\n[hosts.web02]\n")
    agent.wait_state("web01", "needs-sign-in")
    pid = agent.wait_state("web02", "connected")["pid"]
    with AtTerminal(lab.laptop, agent.command("login", "web01"), agent.env) as terminal:
        terminal.expect("(yes/no/[fingerprint])? ")
        done = agent.cli("reconnect", "web01")
        assert (done.returncode, done.stdout) == (1, "")
        assert "web01: another login to it is in progress" in done.stderr
        assert "Ctrl-C" in done.stderr
        done = agent.cli("reconnect", "web01", "web02")
        assert done.returncode == 1
        assert done.stdout.startswith("web02: connected")
        assert "web01: another login to it is in progress" in done.stderr
        done = agent.cli("reconnect")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("web02: connected")
        terminal.enter("yes\n")
        assert terminal.ended() == 0
    agent.wait_state("web01", "connected")
    assert agent.wait_state("web02", "connected")["pid"] != pid
