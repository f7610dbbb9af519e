"""After a change of network, the agent ends the stale master and connects again on the same control path."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from trayagent.net.polling import INTERVAL_S
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
CONFIG = """
[hosts.web01]
local = ["9000:127.0.0.1:8000"]
remote = ["22221:localhost:22"]
dynamic = ["1080"]
"""
STATES = {"local": "open", "dynamic": "open"}


def alive(pid: int) -> bool:
    """Report whether a process exists (a zombie does not count)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def connected(lab: Lab, agent: Agent, config: str = CONFIG) -> dict[str, object]:
    """Connect web01 at home, with its forwards. Return its view."""
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({"web01": SERVER})
    agent.start(config)
    return agent.wait_state("web01", "connected")


def through(lab: Lab, port: int) -> bool:
    """Report whether the server's service answers through a local forward."""
    with lab.probe(port) as probe:
        probe.release()
        return probe.result(deadline_s=10.0) > 0


@pytest.mark.parametrize("gap_s", [0.0, 2.0])
def test_a_switch_of_networks_kills_the_stale_master_and_brings_the_forwards_back(
    lab: Lab, agent: Agent, gap_s: float
) -> None:
    """After a change of network the old master is dead, and -L and -D work through a new one on the same path."""
    before = connected(lab, agent)
    events = agent.events()
    lab.switch("home", "cafe", gap_s=gap_s)
    events.wait("master-stale", "web01")
    events.wait("connected", "web01")
    after = agent.wait_state("web01", "connected")

    assert after["pid"] != before["pid"]
    assert not alive(int(str(before["pid"])))
    assert after["control_path"] == before["control_path"]
    assert str(after["local"]).startswith("10.20.0.")
    assert after["recoveries"] == 1
    assert after["last_recovery_ms"] is not None
    events.wait("forward-open", "web01")
    forwards = {f["kind"]: f for f in agent.wait_forwards("web01", STATES)}
    assert forwards["local"]["listen"] == "127.0.0.1:9000"
    assert through(lab, 9000)
    done = lab.laptop.run(
        [
            "ssh",
            "-F",
            agent.env["TRAYAGENT_SSH_CONFIG"],
            "-o",
            "ControlMaster=no",
            "web01",
            "echo",
            "same-master",
        ]
    )
    assert done.stdout.strip() == "same-master", done.stderr


def test_a_vpn_that_needs_the_user_is_printed_at_the_terminal(lab: Lab, agent: Agent) -> None:
    """Without a tray, the agent prints at its terminal that a VPN needs the user."""
    lab.join("home")
    lab.sshd(INTERNAL)
    lab.ssh_config({"db": {"HostName": INTERNAL, "ControlPath": "~/.ssh/cm-%C"}})
    lab.vpn_up()
    agent.configure('[hosts.db]\nvpn = "corp"\n[vpns.corp]\ninterface = "tun*"\ngrace = "1s"\n')
    with agent.at_terminal("run", "--no-tray") as terminal:
        terminal.expect("manages 1 host")
        agent.wait_state("db", "connected")
        lab.vpn_down()
        terminal.expect("VPN corp needs you to sign in (trayagent status)")
        terminal.enter("\x03")
        assert terminal.ended() == 0


def test_a_vpn_that_comes_back_with_a_new_address_is_recovered(lab: Lab, agent: Agent) -> None:
    """The old master dies with its tunnel address, and the new master connects through the new tunnel."""
    lab.join("home")
    lab.sshd("10.99.0.10")
    lab.ssh_config({"db": {"HostName": "10.99.0.10", "ControlPath": "~/.ssh/cm-%C"}})
    lab.vpn_up()
    agent.start('[hosts.db]\nvpn = "corp"\nlocal = ["9001:127.0.0.1:22"]\n[vpns.corp]\ninterface = "tun*"\n')
    before = agent.wait_state("db", "connected")
    lab.vpn_down()
    agent.wait_state("db", "needs-vpn")
    assert alive(before["pid"]), "with its VPN down nothing is proven, so nothing is killed"
    lab.vpn_up()
    after = agent.wait_state("db", "connected")
    assert after["pid"] != before["pid"]
    assert not alive(before["pid"])
    assert after["control_path"] == before["control_path"]
    assert after["local"] != before["local"]


def test_only_the_master_concerned_is_touched(lab: Lab, agent: Agent) -> None:
    """When the VPN drops, the agent recovers the master over it, and the master over Wi-Fi keeps its pid."""
    lab.join("home")
    lab.sshd()
    lab.sshd("10.99.0.10")
    lab.ssh_config({"web01": SERVER, "db": {"HostName": "10.99.0.10", "ControlPath": "~/.ssh/cm-%C"}})
    lab.vpn_up()
    agent.start("[hosts.web01]\n[hosts.db]\n")
    web, db = (agent.wait_state(name, "connected") for name in ("web01", "db"))
    lab.vpn_down()
    agent.wait_state("db", "needs-vpn")
    lab.vpn_up()
    assert agent.wait_state("db", "connected")["pid"] != db["pid"]
    now = agent.host("web01")
    assert now is not None
    assert now["pid"] == web["pid"]
    assert now["state"] == "connected"


def test_a_remote_forward_that_the_server_still_holds_is_reported_and_retried(lab: Lab, agent: Agent) -> None:
    """With `reap = false`, -R is `failed` while the old session holds its port, and open once that session ended."""
    connected(lab, agent, CONFIG + "reap = false\n")
    events = agent.events()
    lab.switch("home", "cafe")
    failed = events.wait("forward-failed", "web01")
    assert failed["forward"] == "22221:localhost:22", failed
    view = agent.wait_forwards("web01", {"remote": "failed"})
    assert "22221" in next(f["error"] for f in view if f["kind"] == "remote")
    held = {
        int(word.partition("pid=")[2].partition(",")[0])
        for word in lab.server.run(["ss", "-Hltnp", "sport = :22221"], admin=True).stdout.split()
        if "pid=" in word
    }
    for pid in held:  # as the server's ClientAlive would do some time later
        os.kill(pid, signal.SIGKILL)  # sshd may lose a SIGTERM
    agent.wait_forwards("web01", {"remote": "open"}, deadline_s=20.0)


def test_recovery_needs_no_poll(lab: Lab, agent: Agent) -> None:
    """The agent decides within a fraction of a second after the kernel's event, so it does not poll.

    The test uses the fastest of several moves, because a busy machine delays some of them.
    """
    connected(lab, agent)
    here = "home"
    took: list[float] = []
    while not took or (min(took) > INTERVAL_S / 4 and len(took) < 5):
        there = "cafe" if here == "home" else "home"
        events = agent.events()
        began = time.monotonic()
        lab.switch(here, there)
        events.wait("connecting", "web01")
        took.append(time.monotonic() - began)
        events.wait("connected", "web01")
        here = there
    assert min(took) < INTERVAL_S / 4, took
