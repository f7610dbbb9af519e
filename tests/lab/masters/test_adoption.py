"""Adoption of masters that the user started or an earlier agent left running."""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import PIPE

import pytest

from trayagent.sandbox import Agent, Lab

BY_HAND = {
    "HostName": "203.0.113.10",
    "ControlPath": "~/.ssh/cm-%C",
    "ControlMaster": "auto",
    "ControlPersist": "5m",
}
_WATCHED_S = 3.0  # by then, the agent notices when its user uses a new master


def started_by_hand(lab: Lab, agent: Agent) -> None:
    """Log in as a user with ControlMaster auto does; the master stays in the background."""
    done = lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "web01", "true"])
    assert done.returncode == 0, done.stderr


def test_a_master_started_by_hand_is_adopted_killed_when_stale_and_back_on_its_path(
    lab: Lab, agent: Agent
) -> None:
    """The agent detects a master with ControlPersist without configuration, and recovers it on the same path."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": BY_HAND})
    agent.start("")
    events = agent.events()
    started_by_hand(lab, agent)
    # the agent does not poll, so this event never comes if it misses the kernel's notice
    adopted = events.wait("master-adopted", "web01")
    before = agent.wait_state("web01", "connected")
    assert before["listed"] is False
    assert before["control_path"] == adopted["control_path"]

    lab.switch("home", "cafe")
    events.wait("master-stale", "web01")
    events.wait("connected", "web01")
    after = agent.wait_state("web01", "connected")
    assert after["pid"] != before["pid"]
    assert after["control_path"] == before["control_path"]
    assert lab.laptop.run(
        ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "check", "web01"]
    ).stderr.startswith("Master running")


def test_what_the_user_ends_stays_ended(lab: Lab, agent: Agent) -> None:
    """After `ssh -O exit` on an adopted master, the agent starts no new master for the host."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": BY_HAND})
    agent.start("")
    events = agent.events()
    started_by_hand(lab, agent)
    events.wait("master-adopted", "web01")
    lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "exit", "web01"])
    events.wait("disconnected", "web01")
    assert "connecting" not in {e["event"] for e in events.drain(quiet_s=1.5)}


@pytest.mark.parametrize("options", [{}, {"ProxyJump": "203.0.113.12"}], ids=["direct", "jump"])
def test_a_terminal_that_the_user_leaves_stays_closed(
    lab: Lab, agent: Agent, options: dict[str, str]
) -> None:
    """A terminal's own ssh is the master. `exit` makes the agent probe it, but the agent starts no new master."""
    lab.join("home")
    lab.sshd()
    if options:
        lab.sshd("203.0.113.12")
    lab.ssh_config({"web01": {**BY_HAND, "ControlPersist": "no", **options}})
    agent.start("")
    events = agent.events()
    shell = lab.laptop.popen(["ssh", "-T", "web01", "sh"], stdin=PIPE)
    events.wait("master-adopted", "web01")
    time.sleep(_WATCHED_S)
    assert shell.stdin is not None
    shell.stdin.write("exit\n")
    shell.stdin.flush()
    assert shell.wait() == 0
    events.wait("disconnected", "web01")
    assert "connecting" not in {e["event"] for e in events.drain(quiet_s=1.5)}


def test_an_end_by_the_user_of_the_agents_background_master_is_no_loss(lab: Lab, agent: Agent) -> None:
    """`ssh -O exit` after a quiet time makes the agent probe the master. The host and its forward stay down."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {**BY_HAND, "ControlMaster": "no"}})
    agent.start('[hosts.web01]\nconnect = "on-use"\n')
    assert agent.cli("reconnect", "web01").returncode == 0
    agent.wait_state("web01", "connected")
    lab.laptop.run(["ssh", "-O", "forward", "-D", "9003", "web01"])
    agent.wait_forwards("web01", {"dynamic": "open"})
    time.sleep(_WATCHED_S)
    events = agent.events()
    lab.laptop.run(["ssh", "-O", "exit", "web01"])
    ended = events.wait("disconnected", "web01")
    assert "by_request=True" in ended["reason"]
    assert "connecting" not in {e["event"] for e in events.drain(quiet_s=1.5)}
    assert not (agent.host("web01") or {})["forwards"]


@pytest.mark.parametrize("end", ["kill9", "stop", "sigterm"])
def test_masters_outlive_the_agent_and_the_next_one_adopts_them(lab: Lab, agent: Agent, end: str) -> None:
    """However the agent ends, its masters live, and the next agent adopts them with the same pid."""
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({"web01": {**BY_HAND, "ControlMaster": "no", "ControlPersist": "no"}})
    agent.start('[hosts.web01]\nlocal = ["9000:127.0.0.1:8000"]\n')
    pid = agent.wait_state("web01", "connected")["pid"]
    if end == "kill9":
        agent.kill9()
    elif end == "stop":
        assert agent.cli("stop").returncode == 0
        agent.wait_end()
    else:
        agent.stop()
    assert agent.cli("status").returncode == 3
    with lab.probe(9000) as probe:  # the forward works without an agent
        probe.release()
        assert probe.result() > 0

    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    agent.wait_forwards("web01", {"local": "open"})


def test_an_end_by_the_user_of_a_kept_host_is_a_disconnect(lab: Lab, agent: Agent) -> None:
    """After `ssh -O exit` a listed host stays down until `reconnect`, also across a restart.

    The next agent sees no exit status of the master that it adopts.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {**BY_HAND, "ControlMaster": "no"}})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "exit", "web01"])
    agent.wait_state("web01", "idle")
    agent.stop()
    agent.start()
    time.sleep(1.0)  # long enough for a wrong reconnect to start
    agent.wait_state("web01", "idle")
    assert agent.cli("reconnect", "web01").returncode == 0
    agent.wait_state("web01", "connected")
    agent.stop()
    agent.start()
    agent.wait_state("web01", "connected")
    lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "exit", "web01"])
    agent.wait_state("web01", "idle")


def test_a_replaced_master_that_expires_leaves_no_socket(lab: Lab, agent: Agent) -> None:
    """The agent removes the control path's socket file, because ssh removes only the name that it created."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {**BY_HAND, "ControlPersist": "2"}})
    agent.start('[hosts.web01]\nconnect = "on-use"\n')
    assert agent.cli("reconnect", "web01").returncode == 0
    path = Path(agent.wait_state("web01", "connected")["control_path"])
    assert path.is_socket()
    agent.wait_state("web01", "idle")
    assert not path.exists()
