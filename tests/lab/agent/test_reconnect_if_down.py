"""`reconnect --if-down` keeps working connections, and `reconnect --now` prints how many sessions it ended."""

from __future__ import annotations

import subprocess

from tests.lab.logins.test_logins import other_key, refusals
from tests.lab.matrix import bring_up
from tests.lab.recovery.test_suspended import flicker, stopped, until_suspended
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent import END_DEADLINE_S

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}


def session(lab: Lab) -> subprocess.Popen[str]:
    """Start a session through the master, and return it when its command runs."""
    child = lab.laptop.popen(["ssh", "web01", "echo up; exec sleep 600"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    return child


def test_a_connected_host_is_left_alone_and_now_counts_the_sessions_that_end(lab: Lab, agent: Agent) -> None:
    """--if-down keeps the master and its sessions. --now prints the number of sessions that it ended."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    pid = agent.wait_state("web01", "connected")["pid"]
    sessions = [session(lab), session(lab)]
    done = agent.cli("reconnect", "--if-down", "web01")
    assert (done.returncode, done.stdout) == (0, "web01: connected, left as it is\n")
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert [one.poll() for one in sessions] == [None, None]

    done = agent.cli("reconnect", "--now", "web01")
    assert done.returncode == 0
    assert done.stdout.endswith("; 2 sessions through the old connection ended\n")
    assert [one.wait(END_DEADLINE_S) for one in sessions] == [255, 255]
    assert agent.wait_state("web01", "connected")["pid"] != pid


def test_a_host_that_is_down_or_in_doubt_is_connected_at_the_end(lab: Lab, agent: Agent) -> None:
    """--if-down connects a host that the user disconnected.

    Right after a move it waits for the verdict on the master.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    agent.cli("disconnect", "web01")
    done = agent.cli("reconnect", "--if-down", "web01")
    assert done.returncode == 0
    assert done.stdout.startswith("web01: connected in ")
    pid = agent.wait_state("web01", "connected")["pid"]

    lab.switch("home", "cafe")
    done = agent.cli("reconnect", "--if-down", "web01")
    assert (done.returncode, done.stderr) == (0, "")
    host = agent.host("web01")
    assert host is not None
    assert (host["state"], host["local"].split(":")[0]) == ("connected", "10.20.0.2")
    assert host["pid"] != pid
    assert lab.laptop.run(["ssh", "web01", "echo hi"]).stdout == "hi\n"


def test_a_suspended_session_is_left_alone(lab: Lab, agent: Agent) -> None:
    """A session that the user suspended (~^Z) survives a script's --if-down.

    The command fails and prints the reason.
    """
    up = bring_up(lab, agent)
    with stopped(up.pid):
        flicker(lab)
        until_suspended(agent, "web01")
        done = agent.cli("reconnect", "--if-down", "web01")
        assert done.returncode == 1
        assert "The ssh of web01 is suspended" in done.stderr
    up.assert_kept(proven=True)


def test_a_script_in_a_loop_repeats_no_refused_login(lab: Lab, agent: Agent) -> None:
    """--if-down does not count as a user's request: after a refused login it prints the reason and tries no login."""
    lab.join("home")
    server = lab.sshd(config=["LogLevel VERBOSE"])
    lab.ssh_config({"web01": SERVER})
    other_key(lab)
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "needs-sign-in")
    for _ in range(4):
        done = agent.cli("reconnect", "--if-down", "web01")
        assert done.returncode == 1
        assert "refused the login" in done.stderr
    assert refusals(server) == 1
