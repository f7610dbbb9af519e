"""Added or changed control paths, which take effect at once, and two hosts with the same port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.masters.test_odd_masters import listener
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab, Sshd
from trayagent.sandbox.network_map import OTHER

ADDRESS = {"HostName": "203.0.113.10"}


def up(lab: Lab, agent: Agent, config: str, *names: str) -> Sshd:
    """Connect these hosts at home. ssh_config has no ControlPath."""
    lab.join("home")
    server = lab.sshd()
    lab.ssh_config(dict.fromkeys(names, ADDRESS))
    agent.start(config)
    agent.wait_state(names[0], "connected")
    return server


def test_an_added_control_path_leads_to_the_living_master(lab: Lab, agent: Agent) -> None:
    """Plain ssh shares the connection as soon as ssh_config has the path, also after a move and a reconnect."""
    server = up(lab, agent, '[hosts.web01]\nlocal = ["8080:127.0.0.1:8000"]\n', "web01")
    agent.wait_forwards("web01", {"local": "open"})
    path = lab.files.home / ".ssh" / "cm-web01"
    lab.ssh_config({"web01": {**ADDRESS, "ControlPath": str(path)}})
    until("the path leads to the master", lambda: shares(lab, server))
    assert "kill" not in agent.cli("doctor").stdout
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01")
    assert shares(lab, server)
    pid = agent.wait_state("web01", "connected")["pid"]
    agent.kill9()
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert shares(lab, server)
    assert agent.cli("disconnect", "web01").returncode == 0
    until("the path is gone", lambda: not gone_or_link(path))
    assert agent.cli("reconnect", "web01").returncode == 0
    agent.wait_state("web01", "connected")
    assert path.is_socket()
    assert not path.is_symlink()
    assert shares(lab, server)


def test_an_added_control_path_replaces_a_dead_socket_but_no_living_one(lab: Lab, agent: Agent) -> None:
    """A socket on which no process listens gives way at once, one with a listener when that has ended.

    `doctor` names the listener.
    """
    server = up(lab, agent, "[hosts.web01]\n[hosts.web02]\n", "web01", "web02")
    agent.wait_state("web02", "connected")
    dead, taken = (lab.files.home / ".ssh" / name for name in ("cm-web01", "cm-web02"))
    with listener(lab, dead, leaves=True):
        pass
    assert dead.is_socket()
    with listener(lab, taken, leaves=True) as other:
        inode = taken.lstat().st_ino
        path = {**ADDRESS, "ControlPath": "~/.ssh/cm-%n"}
        lab.ssh_config({"web01": path, "web02": path})
        until("the dead socket leads to the master", lambda: shares(lab, server))
        assert taken.lstat().st_ino == inode
        assert f"(pid {other.pid}) listens on its ControlPath {taken}" in agent.cli("doctor").stdout
    until("the other path leads to its master, too", lambda: shares(lab, server, "web02"))


@pytest.mark.parametrize("whose", ["the agent's", "the user's"])
def test_a_changed_control_path_leads_to_the_living_master(lab: Lab, agent: Agent, whose: str) -> None:
    """Plain ssh shares the connection as soon as ssh_config has another path, also after a restart and a move."""
    lab.join("home")
    server = lab.sshd()
    old, new = (lab.files.home / ".ssh" / name for name in ("cm-old", "other-new"))
    lab.ssh_config({"web01": {**ADDRESS, "ControlPath": str(old)}})
    if whose == "the user's":
        lab.laptop.check(["ssh", "-fNM", "web01"])
    agent.start("[hosts.web01]\n")
    pid = agent.wait_state("web01", "connected")["pid"]
    lab.ssh_config({"web01": {**ADDRESS, "ControlPath": str(new)}})
    until("the path leads to the master", lambda: shares(lab, server))
    assert "kill" not in agent.cli("doctor").stdout
    agent.kill9()
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert shares(lab, server)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01")
    assert shares(lab, server)
    assert agent.cli("disconnect", "web01").returncode == 0
    until("both paths are gone", lambda: not gone_or_link(new) and not gone_or_link(old))
    assert agent.cli("reconnect", "web01").returncode == 0
    agent.wait_state("web01", "connected")
    assert new.is_socket()
    assert not new.is_symlink()
    assert shares(lab, server)


def test_a_changed_control_path_leads_to_a_roaming_connection(lab: Lab, agent: Agent) -> None:
    """If the host roams, plain ssh shares its inner master through the new path, also after a move and a restart.

    The next inner master listens there.
    """
    lab.join("home")
    server = lab.sshd()
    old, new = (lab.files.home / ".ssh" / name for name in ("cm-old", "other-new"))
    lab.ssh_config(
        {"web01": {**ADDRESS, "ControlPath": str(old)}, "alias": {**ADDRESS, "ControlPath": str(new)}}
    )
    agent.start('[hosts.web01]\nroam = true\nlocal = ["8080:127.0.0.1:8000"]\n')

    def inner() -> int:
        until("it roams", lambda: (agent.listed_host("web01")["roaming"] or {}).get("attached"), 30.0)
        return int(agent.listed_host("web01")["roaming"]["pid"])

    pid = inner()
    agent.wait_forwards("web01", {"local": "open"})
    lab.ssh_config(
        {"web01": {**ADDRESS, "ControlPath": str(new)}, "alias": {**ADDRESS, "ControlPath": str(new)}}
    )
    until("the path leads to the master", lambda: shares(lab, server))
    assert "web01" in agent.cli("status", "alias").stdout
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("moved", "web01")
    assert shares(lab, server)
    agent.kill9()
    agent.start()
    assert inner() == pid
    assert shares(lab, server)
    assert agent.cli("reconnect", "--now", "web01").returncode == 0
    until("another master is there", lambda: new.is_socket() and not new.is_symlink())
    assert inner() != pid


def test_a_path_that_names_another_account_leads_to_no_other_master(lab: Lab, agent: Agent) -> None:
    """If HostName is edited, a path with %h changes, too. The new path must not lead to the old machine."""
    lab.join("home")
    lab.sshd()
    path = lab.files.home / ".ssh"
    lab.ssh_config({"web01": {**ADDRESS, "ControlPath": f"{path}/%h-%r"}})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    edited = {"HostName": OTHER, "ControlPath": f"{path}/%h-%r", "LocalForward": "8080 127.0.0.1:8000"}
    lab.ssh_config({"web01": edited})
    agent.wait_forwards("web01", {"local": "open"})  # shows that the agent has read the new file
    assert not gone_or_link(path / f"{OTHER}-{lab.files.user}")


def gone_or_link(path: Path) -> bool:
    """Report whether a file or a link is still at the path."""
    return path.exists() or path.is_symlink()


def shares(lab: Lab, server: Sshd, name: str = "web01") -> bool:
    """Report whether plain ssh uses the master."""
    logins = server.logins()
    return lab.laptop.run(["ssh", name, "true"]).returncode == 0 and server.logins() == logins


def test_a_port_that_two_hosts_want_is_named_with_both(lab: Lab, agent: Agent) -> None:
    """The second host's error names the first host, and `doctor` does not suggest killing the first host's master."""
    wish = 'local = ["8080:127.0.0.1:8000"]\n'
    up(lab, agent, f"[hosts.web01]\n{wish}", "web01", "web02")
    agent.wait_forwards("web01", {"local": "open"})
    agent.configure(f"[hosts.web01]\n{wish}[hosts.web02]\n{wish}")
    agent.wait_forwards("web02", {"local": "failed"})
    host = agent.listed_host("web02")
    assert "web01" in host["forwards"][0]["error"]
    said = agent.cli("doctor").stdout
    assert "kill" not in said, said
