"""Masters that end while no agent runs: the next agent recovers lost hosts, but not those that the user ended."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab.masters.test_adoption import BY_HAND, started_by_hand
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
ON_USE = '[hosts.web01]\nconnect = "on-use"\n'


def up(lab: Lab, agent: Agent, config: str, server: dict[str, str]) -> int:
    """Return the pid of a master that a running agent knows and has recorded."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": server})
    agent.start(config)
    if server is BY_HAND:
        started_by_hand(lab, agent)
    else:
        assert agent.cli("reconnect", "web01").returncode == 0
    pid = int(agent.wait_state("web01", "connected")["pid"])

    def on_record() -> bool:
        kept = agent.records()["hosts"].get("web01", {}).get("up") or {}
        return bool(kept.get("pid") == pid)

    until("the master is on record", on_record)
    return pid


def gone(pid: int) -> bool:
    """Report whether a process is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # the process may disappear between two calls
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "killed"])
def test_an_on_use_host_that_lost_its_master_meanwhile_is_recovered(
    lab: Lab, agent: Agent, stopped: bool
) -> None:
    """If a host's master is killed while no agent runs, the next agent recovers the host, as a running agent would."""
    pid = up(lab, agent, ON_USE, SERVER)
    agent.stop() if stopped else agent.kill9()
    os.kill(pid, signal.SIGKILL)
    until("it is gone", lambda: gone(pid))
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] != pid


def test_a_master_of_the_users_own_that_the_network_took_meanwhile_is_recovered(
    lab: Lab, agent: Agent
) -> None:
    """The next agent recovers an unlisted host whose master ended after a change of network while no agent ran."""
    pid = up(lab, agent, "", BY_HAND)
    agent.kill9()
    lab.switch("home", "cafe")
    os.kill(pid, signal.SIGTERM)
    until("it is gone", lambda: gone(pid))
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] != pid


@pytest.mark.parametrize("server", [SERVER, BY_HAND], ids=["ours", "by-hand"])
def test_what_the_user_ended_meanwhile_stays_ended(lab: Lab, agent: Agent, server: dict[str, str]) -> None:
    """If the user runs `ssh -O exit` while no agent runs, the next agent does not start the master again."""
    pid = up(lab, agent, ON_USE, server)
    agent.kill9()
    exited = lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "exit", "web01"])
    assert exited.returncode == 0, exited.stderr
    until("it is gone", lambda: gone(pid))
    logins = lab.servers[0].logins()
    agent.start()
    assert agent.wait_state("web01", "idle")["pid"] is None
    assert lab.servers[0].logins() == logins


def test_a_host_that_waits_to_be_recovered_is_so_by_the_next_agent(lab: Lab, agent: Agent) -> None:
    """The next agent recovers a host that lost its master while there was no network, before the agent was killed."""
    pid = up(lab, agent, ON_USE, SERVER)
    lab.leave("home")
    os.kill(pid, signal.SIGKILL)
    agent.wait_state("web01", "offline")
    until("that is on record", lambda: agent.records()["hosts"]["web01"]["up"]["pid"] is None)
    agent.kill9()
    agent.start()
    agent.wait_state("web01", "offline")
    lab.join("home")
    agent.wait_state("web01", "connected")


def test_agents_that_are_killed_while_they_connect_leave_no_files(lab: Lab, agent: Agent) -> None:
    """Each killed agent leaves the socket of its connection behind, and the next agent removes these sockets.

    It also removes the second file of a log whose first file is gone: the agent was killed between the two.
    """
    lab.join("home")
    lab.ssh_config({"web01": SERVER})
    lab.liar("home").is_silent()
    agent.configure("[hosts.web01]\n")

    def sockets() -> list[str]:
        return [path.name for path in agent.runtime_dir.glob("connection-*")]

    for _ in range(2):
        agent.start()
        until("it connects", lambda: agent.listed_host("web01")["state"] == "connecting" and sockets(), 10.0)
        agent.kill9()
    halves = [agent.runtime_dir / name for name in ("attempt-1-1.err", "master-4194304.err")]  # no such pid
    for file in halves:
        file.touch()
    agent.start("")
    until("they are gone", lambda: not sockets() and not any(file.exists() for file in halves), 5.0)
