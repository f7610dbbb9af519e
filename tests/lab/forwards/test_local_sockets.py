"""Local forwards on a Unix socket come back after a change of network. The agent removes only its own socket files."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.lab.forwards.test_remote_cleanup import UNIX_PROBE
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}


def up(lab: Lab, agent: Agent) -> Path:
    """Connect the host at home with a forward from a socket of the laptop; return the socket's path."""
    path = lab.files.home / "db.sock"
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({HOST: SERVER})
    agent.start(f'[hosts.{HOST}]\nlocal = ["{path}:127.0.0.1:8000"]\n')
    agent.wait_forwards(HOST, {"local": "open"})
    reach(lab, path)
    return path


def reach(lab: Lab, path: Path) -> None:
    """Check that the server's service answers through the Unix socket on the laptop."""
    lab.laptop.check([sys.executable, "-I", "-S", "-c", UNIX_PROBE, str(path)])


def test_a_local_socket_is_back_after_each_move_and_after_a_restart(lab: Lab, agent: Agent) -> None:
    """The agent, or the next one, removes the socket file that a killed master leaves behind."""
    path = up(lab, agent)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    events.wait("forward-open", HOST)
    reach(lab, path)
    assert not [e for e in events.drain() if e["event"] == "forward-failed"], events.seen
    agent.kill9()
    lab.switch("cafe", "home")
    agent.start()
    until("the forward is back", lambda: answers(lab, path))
    agent.wait_forwards(HOST, {"local": "open"})


def test_a_local_socket_is_back_after_reconnect_and_after_a_change_of_its_target(
    lab: Lab, agent: Agent
) -> None:
    """The agent also removes the socket file that ssh leaves behind when a forward is closed."""
    path = up(lab, agent)
    assert agent.cli("reconnect", HOST).returncode == 0
    agent.wait_forwards(HOST, {"local": "open"})
    reach(lab, path)
    lab.echo(8001)
    events = agent.events()
    agent.configure(f'[hosts.{HOST}]\nlocal = ["{path}:127.0.0.1:8001"]\n')
    events.wait("forward-open", HOST)
    reach(lab, path)


def test_a_socket_of_another_program_is_left_alone_and_named(lab: Lab, agent: Agent) -> None:
    """A socket file that the agent did not create stays, whether or not a program listens on it."""
    path = up(lab, agent)
    lab.leave("home")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        events = agent.events()
        lab.join("cafe")
        failed = events.wait("forward-failed", HOST)
    assert str(path) in failed["reason"]
    assert path.is_socket()


def answers(lab: Lab, path: Path) -> bool:
    """Report whether the server's service answers through the socket."""
    probe = UNIX_PROBE.replace("+ 10", "+ 1")
    return lab.laptop.run([sys.executable, "-I", "-S", "-c", probe, str(path)]).returncode == 0
