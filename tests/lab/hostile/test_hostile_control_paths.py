"""Control paths in a folder in which every user may create files: what another user can and cannot do there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import alive
from trayagent.sandbox import Agent, Lab
from trayagent.ssh.os.swap_files import exchange

DEADLINE_S = 20.0


@pytest.fixture
def sticky(lab: Lab) -> Iterator[Path]:
    """Create a folder like /tmp, which both users can use. The laboratory's own folder excludes other users."""
    del lab  # end the agent before the folder is removed
    folder = Path(tempfile.mkdtemp(prefix="st-", dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def bystander(lab: Lab) -> subprocess.Popen[str]:
    """Run an unrelated program of the laptop's user, with a child. The agent must not end either."""
    child = lab.laptop.popen(["sh", "-c", "sleep 600 & wait"])
    until(lambda: children(child.pid))
    return child


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: object, deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition is true."""
    limit = time.monotonic() + deadline_s
    assert callable(condition)
    while not condition():
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.02)


@pytest.mark.root
@pytest.mark.parametrize("how", ["claims", "silent", "endless", "huge", "agrees"])
def test_another_user_cannot_put_a_master_in_the_place_of_ours(
    lab: Lab, agent: Agent, sticky: Path, bystander: subprocess.Popen[str], how: str
) -> None:
    """Another user who listens on the control path first gets no data, and cannot make the agent end a process."""
    lab.join("home")
    lab.sshd()
    path = sticky / "cm"
    lab.ssh_config({"web01": {"HostName": "203.0.113.10"}}, ControlPath=str(path), ControlPersist="yes")
    (child,) = children(bystander.pid)
    mallory = lab.other_user()
    lab.hostile_mux(str(sticky), how, pid=bystander.pid, ambush=True, node=mallory)  # type: ignore[arg-type]
    agent.start('[hosts.web01]\nconnect = "on-use"\n')
    assert lab.laptop.run(["ssh", "-MNf", "-S", str(path), "web01"]).returncode == 0
    before = agent.wait_state("web01", "connected")["pid"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01", deadline_s=DEADLINE_S)
    after = agent.wait_state("web01", "connected")
    assert after["pid"] not in {before, bystander.pid}
    assert Path(f"/proc/{after['pid']}/comm").read_text() == "ssh\n"
    assert agent.cli("disconnect", "web01").returncode == 0
    until(lambda: not alive(after["pid"]))
    assert bystander.poll() is None
    assert children(bystander.pid) == [child]
    assert [p for p in sticky.iterdir() if p.owner() == "root"] == []


@pytest.mark.parametrize("how", ["network", "mounts", "both"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "meanwhile"])
def test_a_master_in_a_container_keeps_its_control_path(
    lab: Lab, agent: Agent, how: str, first: bool
) -> None:
    """The agent neither adopts nor ends a container's master, but reports it.

    When it ends, the agent takes the path.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {"HostName": "203.0.113.10"}}, ControlPath="~/.ssh/cm-%n")
    inside = lab.container(network="office" if how != "mounts" else None, mounts=how != "network")
    path = lab.files.ssh / "cm-web01"
    start = ["ssh", "-MN", "-o", "ControlPersist=no", "web01"]
    if first:
        theirs = inside.popen(start)
        until(path.exists)
        agent.start("[hosts.web01]\n")
    else:
        agent.start("[hosts.web01]\n")
        ours = agent.wait_state("web01", "connected")["pid"]
        path.unlink()
        theirs = inside.popen(start)
        until(path.exists)
        os.kill(ours, signal.SIGKILL)
    inode = path.stat().st_ino
    problem = agent.wait_state("web01", "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert "container" in problem["title"] + problem["hint"]
    assert agent.cli("reconnect", "web01").returncode == 1
    assert path.stat().st_ino == inode
    assert theirs.poll() is None
    assert inside.run(["ssh", "-O", "check", "web01"]).returncode == 0
    theirs.kill()
    theirs.wait(DEADLINE_S)
    assert agent.wait_state("web01", "connected")["control_path"] == str(path)


def test_an_agent_that_is_killed_in_a_login_leaves_nothing_in_a_shared_folder(
    lab: Lab, agent: Agent, sticky: Path
) -> None:
    """The next agent removes the private folder of a killed attempt.

    After a successful login, the agent itself removes it.
    """
    lab.set_rtt(400)
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": f"{sticky}/cm"}})
    agent.start("[hosts.web01]\n")
    until(lambda: list(sticky.iterdir()))
    agent.kill9()
    (private,) = sticky.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    agent.start()
    agent.wait_state("web01", "connected", deadline_s=DEADLINE_S)
    assert [p.name for p in sticky.iterdir()] == ["cm"]
    assert agent.cli("disconnect", "web01").returncode == 0
    until(lambda: not list(sticky.iterdir()))


@pytest.mark.parametrize("where", ["here", "container"])
def test_an_agent_that_is_killed_in_a_swap_has_it_undone(lab: Lab, agent: Agent, where: str) -> None:
    """If an agent dies between swapping two control paths and checking the other master, the next agent swaps back."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {"HostName": "203.0.113.10"}}, ControlPath="~/.ssh/cm-%n")
    path, fresh = lab.files.ssh / "cm-web01", lab.files.ssh / "cm-web01.zzz"
    agent.start("[hosts.db]\n")
    agent.stop()
    (records,) = agent.state_dir.glob("agent*.json")
    kept = json.loads(records.read_text())
    begun = {"host": "web01", "target": str(path), "log": str(agent.runtime_dir / "attempt-1-1.log")}
    kept["attempts"] = {
        str(fresh): {**begun, "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    }
    records.write_text(json.dumps(kept))
    node = lab.laptop if where == "here" else lab.container(network="office", mounts=False)
    theirs = node.popen(["ssh", "-MN", "-o", "ControlPersist=no", "web01"])
    ours = lab.laptop.popen(["ssh", "-MN", "-o", f"ControlPath={fresh}", "-o", "ControlPersist=no", "web01"])
    until(lambda: path.exists() and fresh.exists())
    inode = path.stat().st_ino
    assert exchange(str(path), str(fresh))
    agent.start("[hosts.web01]\n")
    if where == "here":
        assert agent.wait_state("web01", "connected")["pid"] == theirs.pid
    else:
        assert agent.wait_state("web01", "failed")["problem"]["code"] == "control-path-taken"
    assert path.stat().st_ino == inode
    assert theirs.poll() is None
    assert ours.wait(DEADLINE_S) is not None
    assert not fresh.exists()
