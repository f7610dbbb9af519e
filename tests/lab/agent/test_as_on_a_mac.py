"""The agent with a Mac's back ends: processes from ps, connections from lsof, masters over their control sockets.

tests/agent/as_mac imitates the system programs of a Mac. There is no routing socket here, so the agent polls for
changes of the network every five seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.lab.masters.test_drain import Session
from trayagent.sandbox import Agent, Lab

AS_MAC = Path(__file__).parents[2] / "agent" / "as_mac"

HOST = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
BY_HAND = {**HOST, "ControlPath": "~/.ssh/hand-%C", "ControlMaster": "auto", "ControlPersist": "5m"}
LISTED = '[hosts.web01]\nlocal = ["8080:localhost:22"]\n'
SEEN_S = 20.0


@pytest.fixture(autouse=True)
def _tools() -> None:
    """If the tools are missing, skip on a laptop, but fail in CI."""
    missing = [tool for tool in ("ps", "lsof") if shutil.which(tool) is None]
    if missing:
        assert not os.environ.get("CI"), f"CI has no {missing}"
        pytest.skip(f"needs {', '.join(missing)}")


def start_as_on_a_mac(agent: Agent, config: str | None = None) -> None:
    """Start only the agent on an imitated Mac."""
    plain = agent.env["PYTHONPATH"]
    agent.env["PYTHONPATH"] = f"{AS_MAC}:{plain}"
    try:
        agent.start(config)
    finally:
        agent.env["PYTHONPATH"] = plain


def wait_gone(agent: Agent, name: str) -> None:
    """Poll until the agent no longer shows an unlisted host."""
    limit = time.monotonic() + SEEN_S
    while agent.host(name) is not None:
        assert time.monotonic() < limit, f"{name} is still there"
        time.sleep(0.05)


def test_masters_are_kept_recovered_and_adopted_as_on_a_mac(lab: Lab, agent: Agent) -> None:
    """A listed host and a master started by hand survive a change of network and a restart of the agent."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": HOST, "hand": BY_HAND})
    start_as_on_a_mac(agent, LISTED)
    first = agent.wait_state("web01", "connected")
    assert (first["peer"], first["interface"]) == ("203.0.113.10:22", "wlan0")
    agent.wait_forwards("web01", {"local": "open"})
    done = lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "hand", "true"])
    assert done.returncode == 0, done.stderr
    by_hand = agent.wait_state("hand", "connected")
    assert by_hand["listed"] is False
    assert by_hand["peer"] == "203.0.113.10:22"

    events = agent.events()
    lab.switch("home", "cafe")
    for name, before in (("web01", first), ("hand", by_hand)):
        limit = 3
        while (after := agent.wait_state(name, "connected", SEEN_S))["pid"] == before["pid"] and limit:
            events.wait("connected", name, deadline_s=SEEN_S)
            limit -= 1
        assert after["pid"] != before["pid"]
        assert after["control_path"] == before["control_path"]
    agent.wait_forwards("web01", {"local": "open"})
    living = {h["name"]: h["pid"] for h in agent.status()["hosts"]}

    agent.stop()
    start_as_on_a_mac(agent)
    for name, pid in living.items():
        assert agent.wait_state(name, "connected")["pid"] == pid
    log = (agent.state_dir / "agent.log").read_text()
    assert "macos_route: " in log
    assert "Traceback" not in log


def test_the_end_of_a_master_is_seen_at_once_as_on_a_mac(lab: Lab, agent: Agent) -> None:
    """The agent replaces a killed master of a listed host, but not a master that the user ended with `ssh -O exit`."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": HOST, "hand": BY_HAND})
    start_as_on_a_mac(agent, LISTED)
    first = agent.wait_state("web01", "connected")
    ssh = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"]]
    assert lab.laptop.run([*ssh, "hand", "true"]).returncode == 0
    agent.wait_state("hand", "connected")
    lab.laptop.run([*ssh, "-O", "exit", "hand"])
    wait_gone(agent, "hand")
    events = agent.events()
    assert agent.cli("status").returncode == 0  # once this is answered, `events` has started
    os.kill(first["pid"], signal.SIGKILL)
    events.wait("connected", "web01")
    assert agent.wait_state("web01", "connected")["pid"] != first["pid"]
    assert agent.host("hand") is None
    assert agent.cli("disconnect", "web01").returncode == 0
    agent.wait_state("web01", "idle")


@pytest.mark.parametrize("options", [HOST, BY_HAND], ids=["by the agent", "by hand"])
def test_a_reconnect_keeps_open_sessions_as_on_a_mac(lab: Lab, agent: Agent, options: dict[str, str]) -> None:
    """An open session continues, and the old master ends with it, even if the agent is restarted meanwhile."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": options})
    by_hand = Session(lab) if options is BY_HAND else None
    start_as_on_a_mac(agent, "" if by_hand else LISTED)
    old = agent.wait_state("web01", "connected", SEEN_S)["pid"]
    session = by_hand or Session(lab)
    done = agent.cli("reconnect", "web01", deadline_s=60)
    assert done.stdout.endswith(" through the old connection\n"), done.stderr
    new = agent.wait_state("web01", "connected")["pid"]
    assert new != old
    agent.stop()
    start_as_on_a_mac(agent)
    host = agent.wait_state("web01", "connected", SEEN_S)
    assert host["pid"] == new
    assert [one["pid"] for one in host["draining"]] == [old]
    events = agent.events()
    assert session.echoes()
    assert session.end() == 0
    assert events.wait("drained", "web01", deadline_s=SEEN_S)["killed"] is False


def test_an_icon_that_cannot_be_shown_stops_nothing_as_on_a_mac(lab: Lab) -> None:
    """Without AppKit, `status` shows why there is no icon, and the agent works as usual."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": HOST})
    with Agent(lab, desktop={"LANG": "C.UTF-8"}) as agent:
        start_as_on_a_mac(agent, LISTED)
        agent.wait_state("web01", "connected")
        limit = time.monotonic() + SEEN_S
        while "menu bar's program ended" not in (agent.status()["agent"]["no_tray"] or ""):
            assert time.monotonic() < limit, agent.status()["agent"]["no_tray"]
            time.sleep(0.05)
        agent.stop()
        assert "Traceback" not in (agent.state_dir / "agent.log").read_text()
