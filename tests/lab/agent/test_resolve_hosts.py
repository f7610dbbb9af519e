"""When `ssh -G` runs. It resolves names and runs commands of ssh_config, so the agent runs it only when needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trayagent.sandbox import Agent, Lab, ssh_config_of_laptop
from trayagent.sandbox import network_map as plan

pytestmark = pytest.mark.lab

CORP = "vault.corp.example"
CANONICAL = {
    "CanonicalizeHostname": "yes",
    "CanonicalDomains": "corp.example",
    "CanonicalizeFallbackLocal": "no",
    "ControlPath": "~/.ssh/cm-%h",
}


def test_the_name_of_a_host_behind_a_vpn_is_resolved_only_by_the_vpn(lab: Lab, agent: Agent) -> None:
    """With CanonicalizeHostname, no query for a host behind a VPN is sent until the VPN is up.

    This applies in a café, at home, after a change of ssh_config, and beside an unnamed master. When the VPN comes
    up, the agent connects the host, on the control path that contains the canonical name.
    """
    names = lab.name_server({CORP: plan.INTERNAL, "web.corp.example": plan.SERVER})
    server = lab.sshd(plan.INTERNAL)
    ssh_config_of_laptop.make_known(lab.files, server, CORP)
    ssh_config_of_laptop.make_known(lab.files, lab.sshd(), "web.corp.example")
    hosts: dict[str, ssh_config_of_laptop.Options] = {"vault": {}, "shelf": {}, "web": {}}
    lab.ssh_config(hosts, **CANONICAL)
    lab.join("cafe")
    agent.start(
        '[vpns.corp]\ninterface = "tun*"\n[hosts.vault]\nvpn = "corp"\n'
        '[hosts.shelf]\nnetworks = ["Home*"]\n[hosts.web]\n'
    )
    agent.wait_state("web", "connected")
    unnamed = ["ssh", "-M", "-N", "-f", "-S", "~/.ssh/elsewhere", plan.SERVER]
    lab.laptop.check(["sh", "-c", " ".join(unnamed)])
    lab.switch("cafe", "home")
    lab.switch("home", "cafe", gap_s=0.3)
    agent.wait_state("web", "connected")
    lab.ssh_config(hosts, **CANONICAL, ServerAliveInterval=7)
    _settled(agent, lambda: names.asked)
    assert "web.corp.example" in names.asked, "nothing is looked up at all, so this proves nothing"
    assert not [n for n in names.asked if n.startswith(("vault", "shelf"))]
    assert (agent.host("vault") or {})["state"] == "needs-vpn"
    lab.vpn_up()
    found = agent.wait_state("vault", "connected")
    assert found["control_path"] == str(lab.files.ssh / f"cm-{CORP}")
    assert CORP in names.asked


def test_match_exec_runs_no_more_often_than_logins(lab: Lab, agent: Agent) -> None:
    """While the link flaps ten times with ten hosts, `ssh -G` runs only before logins."""
    lab.join("home")
    lab.sshd()
    runs = lab.files.home / "runs"
    lab.ssh_config({"web01": {"HostName": plan.SERVER, "ControlPath": "~/.ssh/cm-%C"}})
    config = lab.files.ssh / "config"
    config.write_text(f'Match exec "echo %n >> {runs}; false"\n    User nobody\n{config.read_text()}')
    idle = "".join(f'[hosts.idle{i}]\nconnect = "on-use"\n' for i in range(9))
    agent.start(f"[hosts.web01]\n{idle}")
    agent.wait_state("web01", "connected")
    before, events = _lines(runs), agent.events()
    lab.flap(10, period_s=0.4)
    _settled(agent, lambda: _lines(runs))
    logins = [e for e in events.drain() if e["event"] == "connecting"]
    assert len(_lines(runs)) - len(before) <= 2 * len(logins), "one for ssh -G, one for the login"


def test_match_exec_runs_again_before_a_login_on_another_network(lab: Lab, agent: Agent) -> None:
    """After a move from home to the café, the connection has the forward that ssh_config defines only for the café."""
    lab.join("home")
    lab.sshd()
    runs = lab.files.home / "runs"
    lab.ssh_config({"web01": {"HostName": plan.SERVER, "ControlPath": "~/.ssh/cm-web01"}})
    config = lab.files.ssh / "config"
    there = f"echo %n >> {runs}; ip -4 addr show wlan0 | grep -q 10.20.0."
    forward = "LocalForward 9000 127.0.0.1:8000"
    config.write_text(f'Match originalhost web01 exec "{there}"\n    {forward}\n{config.read_text()}')
    agent.start("[hosts.web01]\n")
    assert agent.wait_state("web01", "connected")["forwards"] == []
    before, events = _lines(runs), agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01")
    agent.wait_forwards("web01", {"local": "open"})
    assert len((agent.host("web01") or {})["forwards"]) == 1
    assert len(_lines(runs)) - len(before) == 2, "one for ssh -G, one for the login"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _settled(agent: Agent, what: Callable[[], list[str]]) -> None:
    """Wait until neither `what()` nor the host states have changed for a second."""
    last, since = None, time.monotonic()
    limit = since + 20
    while time.monotonic() - since < 1.0 and time.monotonic() < limit:
        now = (what(), [h["state"] for h in agent.status()["hosts"]])
        if now != last:
            last, since = now, time.monotonic()


def test_a_command_with_a_second_alias_is_for_its_connection(lab: Lab, agent: Agent) -> None:
    """If two aliases have one Host block, a command with either is for the host that has the connection."""
    lab.sshd()
    lab.ssh_config({"web01 www": {"HostName": plan.SERVER, "ControlPath": "~/.ssh/cm-%C"}})
    lab.join("home")
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    done = agent.cli("why", "www")
    assert done.stdout.startswith("www uses the connection of web01."), done
    assert "connected" in done.stdout
    assert "knows no host" in agent.cli("why", "ww").stderr
    assert "web01" in agent.cli("status", "www").stdout
    with agent.at_terminal("status", "--watch", "www") as watch:
        watch.expect("web01")
    assert agent.cli("reconnect", "www", "web01").returncode == 0
    agent.wait_state("web01", "connected")
    done = agent.cli("disconnect", "www")
    assert done.returncode == 0, done
    assert (agent.host("web01") or {})["state"] == "idle"
