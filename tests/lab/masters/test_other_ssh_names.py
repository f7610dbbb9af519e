"""Masters whose program is not named ssh, such as HPN-SSH or a second OpenSSH, are treated like any other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import alive, laboratory, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.lab_tools import tool

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}


@pytest.fixture
def hpnssh(tmp_path: Path) -> str:
    """Return the path of a copy of ssh with another name."""
    if Path(tool("ssh")).read_bytes().startswith(b"#!"):
        pytest.skip("ssh is only unpacked, so a copy would be one of its wrapper")
    return shutil.copy(tool("ssh"), str(tmp_path / "hpnssh"))


@pytest.fixture
def other_lab(hpnssh: str) -> Iterator[Lab]:
    """Build a laboratory whose agent uses the copy of ssh."""
    with laboratory(ssh=hpnssh) as lab:
        yield lab


def pid_of(agent: Agent) -> int:
    """Return the pid of the host's connected master."""
    return int(agent.wait_state(HOST, "connected")["pid"])


def test_the_agent_replaces_and_adopts_its_own(other_lab: Lab) -> None:
    """With TRAYAGENT_SSH, the agent judges these masters at each move, and the next agent adopts them."""
    lab = other_lab
    with Agent(lab) as agent:
        lab.join("home")
        lab.sshd()
        lab.echo(8000)
        lab.ssh_config({HOST: SERVER})
        agent.start(f'[hosts.{HOST}]\nlocal = ["8080:127.0.0.1:8000"]\n')
        agent.wait_forwards(HOST, {"local": "open"})
        for here, there in (("home", "cafe"), ("cafe", "home")):
            old = pid_of(agent)
            events = agent.events()
            lab.switch(here, there)
            events.wait("connected", HOST)
            agent.wait_forwards(HOST, {"local": "open"})
            assert not alive(old)
        last = pid_of(agent)
        agent.kill9()
        agent.start()
        assert pid_of(agent) == last
        assert agent.cli("disconnect", HOST).returncode == 0
        until("the master is gone", lambda: not alive(last))


def test_a_master_that_was_started_by_hand_is_adopted(lab: Lab, agent: Agent, hpnssh: str) -> None:
    """The agent adopts the master, because the kernel lists its socket and it answers as a master."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: SERVER})
    agent.start("")
    lab.laptop.check([hpnssh, "-M", "-N", "-f", HOST])
    old = pid_of(agent)
    assert Path(f"/proc/{old}/comm").read_text() == "hpnssh\n"
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    assert not alive(old)
    assert pid_of(agent) != old


def test_doctor_has_no_complaint(other_lab: Lab) -> None:
    """`doctor` does not report the master's control path as taken."""
    lab = other_lab
    with Agent(lab) as agent:
        lab.join("home")
        lab.sshd()
        lab.ssh_config({HOST: SERVER})
        agent.start(f"[hosts.{HOST}]\n")
        agent.wait_state(HOST, "connected")
        found = agent.cli("doctor").stdout
        assert "listens on its ControlPath" not in found
        assert f"{HOST}: sh" in found or f"{HOST}: bash" in found, found
