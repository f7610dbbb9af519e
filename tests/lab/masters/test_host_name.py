"""The laptop's own name changes, as DHCP may do, and %C in ControlPath depends on it."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.matrix import HOST, OPTIONS, until
from trayagent.sandbox import Agent, Lab


@pytest.mark.root
def test_ssh_finds_the_master_under_the_new_name(
    lab: Lab, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new login and without an agent's restart, the master has the new control path, too."""
    lab.join("home")
    server = lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    held = lab.laptop.popen(
        ["unshare", "--uts", "sh", "-c", "hostname at-home; echo made; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert held.stdout
        assert held.stdout.readline() == "made\n"
        inside = ["nsenter", f"--uts=/proc/{held.pid}/ns/uts"]
        command = agent.command
        monkeypatch.setattr(agent, "command", lambda *words: [*inside, *command(*words)])
        agent.start(f"[hosts.{HOST}]\n")
        pid = agent.wait_state(HOST, "connected")["pid"]
        lab.laptop.check([*inside, "hostname", "in-a-cafe"])

        def served() -> bool:
            return lab.laptop.run([*inside, "ssh", "-O", "check", HOST]).returncode == 0

        until("ssh finds the master", served)
        assert agent.listed_host(HOST)["pid"] == pid
        assert server.logins() == 1
    finally:
        agent.stop()
        held.communicate()
