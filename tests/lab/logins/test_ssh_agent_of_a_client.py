"""Every command passes its SSH_AUTH_SOCK to the agent: a bad one must not replace the good ssh-agent."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.forwards.test_agent_socket import sockets_are_removed, ssh_agent
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent import END_DEADLINE_S
from trayagent.sandbox.ssh_config_of_laptop import Options

__all__ = ["sockets_are_removed"]  # an autouse fixture, imported only to be active here

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
HERE: Options = {"HostName": "127.0.0.1", "Port": 2222, "ForwardAgent": "yes", "ControlPath": "none"}


@contextmanager
def forwarded(lab: Lab, agent: Agent, behind: Path) -> Iterator[str]:
    """Log in to the laptop with agent forwarding, as from another machine. Yield the agent socket of that session."""
    if os.getuid() == 0:  # its sshd needs this directory, and the laptop has the machine's /run
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    lab.sshd("127.0.0.1", 2222, node=lab.laptop)
    words = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "here", "echo $SSH_AUTH_SOCK; read ended"]
    pipe = subprocess.PIPE
    child = lab.laptop.popen(words, env={"SSH_AUTH_SOCK": str(behind)}, stdin=pipe, stdout=pipe)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.stdin.close()
        child.wait(END_DEADLINE_S)
        child.stdout.close()


def used(agent: Agent) -> str:
    """Return the SSH_AUTH_SOCK of a newly started master, or "" if it has none."""
    assert agent.cli("reconnect", "web01").returncode == 0
    pid = agent.wait_state("web01", "connected")["pid"]
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return next(
        (word.removeprefix("SSH_AUTH_SOCK=") for word in words if word.startswith("SSH_AUTH_SOCK=")), ""
    )


def started(lab: Lab, agent: Agent, auth_sock: str) -> None:
    """Start the agent in an environment with this ssh-agent."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER, "here": HERE})
    agent.env["SSH_AUTH_SOCK"] = auth_sock
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")


@pytest.mark.parametrize("offered", ["gone", "file", "dead", "other", "forwarded"])
def test_a_living_ssh_agent_is_kept(lab: Lab, agent: Agent, offered: str) -> None:
    """The agent keeps a living ssh-agent, even if an old tmux window, `sudo -E` or a remote session passes another."""
    path = lab.files.root / "offered"
    with ssh_agent(lab, "good") as good, ssh_agent(lab, "other") as other:
        started(lab, agent, str(good))
        if offered == "file":
            path.touch()
        elif offered == "dead":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        elif offered == "other":
            path.symlink_to(other)
        if offered == "forwarded":
            with forwarded(lab, agent, other) as session:
                agent.env["SSH_AUTH_SOCK"] = session
                assert used(agent) == str(good)
        else:
            agent.env["SSH_AUTH_SOCK"] = str(path)
            assert agent.cli("status").returncode == 0
            assert used(agent) == str(good)


def test_another_ssh_agent_replaces_one_that_ended(lab: Lab, agent: Agent) -> None:
    """After the ssh-agent ended, the agent uses another ssh-agent of this machine, but never one that sshd forwards."""
    with ssh_agent(lab, "first") as first:
        started(lab, agent, str(first))
    until("it has ended", lambda: not first.exists())
    with ssh_agent(lab, "second") as second:
        with forwarded(lab, agent, second) as session:
            agent.env["SSH_AUTH_SOCK"] = session
            assert used(agent) == str(first)
            assert agent.cli("status").returncode == 0
            assert "sshd forwards it from another machine" in (agent.state_dir / "agent.log").read_text()
        agent.env["SSH_AUTH_SOCK"] = str(second)
        assert used(agent) == str(second)


def test_an_agent_started_in_a_remote_session_does_not_use_its_ssh_agent(lab: Lab, agent: Agent) -> None:
    """An agent that was started in a remote session uses the key files of this machine for background logins."""
    lab.join("home")
    lab.ssh_config({"web01": SERVER, "here": HERE})
    lab.sshd()
    with ssh_agent(lab, "far") as far, forwarded(lab, agent, far) as session:
        agent.env["SSH_AUTH_SOCK"] = session
        agent.start("[hosts.web01]\n")
        agent.wait_state("web01", "connected")
        assert used(agent) == ""
