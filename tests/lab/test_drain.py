"""A reconnect beside a master that answers keeps its sessions and forwarded connections until they end."""

from __future__ import annotations

import subprocess

from tests.lab.test_reconnect_if_down import SERVER
from trayagent.sandbox import Agent, Lab


class Session:
    """A session through the master that echoes what it gets."""

    def __init__(self, lab: Lab, *options: str) -> None:
        pipe = subprocess.PIPE
        words = ["ssh", *options, "web01", "echo up; exec cat"]
        self._child = lab.laptop.popen(words, stdin=pipe, stdout=pipe)
        assert self._line() == "up\n"

    def _line(self) -> str:
        assert self._child.stdout is not None
        return str(self._child.stdout.readline())

    def echoes(self) -> bool:
        """Report whether a line comes back."""
        assert self._child.stdin is not None
        self._child.stdin.write("line\n")
        self._child.stdin.flush()
        return self._line() == "line\n"

    def end(self) -> int:
        """End it from this side; return ssh's exit status."""
        self._child.communicate(timeout=20)
        return self._child.returncode

    def ended(self) -> int:
        """Wait until it ends; return ssh's exit status."""
        return self._child.wait(20)


def connected(lab: Lab, agent: Agent, table: str = "") -> int:
    """Connect web01 from home; return the master's pid."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start(f"[hosts.web01]\n{table}")
    return int(agent.wait_state("web01", "connected")["pid"])


def test_open_sessions_go_on_beside_the_new_connection(lab: Lab, agent: Agent) -> None:
    """They are counted and shown. New sessions use the new master; the old one ends with its last session."""
    old = connected(lab, agent)
    events = agent.events()
    first, second = Session(lab), Session(lab)
    done = agent.cli("reconnect", "web01")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("; 2 sessions go on through the old connection\n")
    assert events.wait("draining", "web01")["sessions"] == 2
    host = agent.wait_state("web01", "connected")
    assert host["pid"] != old
    (draining,) = host["draining"]
    assert (draining["pid"], draining["sessions"], draining["connections"]) == (old, 2, 0)
    assert "2 sessions still use the connection of " in agent.cli("status").stdout
    assert first.echoes()
    third = Session(lab)
    assert first.end() == 0
    assert "1 session still uses the connection of " in agent.cli("status").stdout
    assert second.echoes()
    assert second.end() == 0
    drained = events.wait("drained", "web01")
    assert (drained["pid"], drained["killed"]) == (old, False)
    assert agent.wait_state("web01", "connected")["draining"] == []
    assert third.echoes()
    assert third.end() == 0
    assert "the sessions of the old connection go on" in agent.cli("why", "web01").stdout
