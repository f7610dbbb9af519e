"""Masters and control paths in unusual states: stopped, stuck, taken, stale, missing."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
CONFIG = "[hosts.web01]\n"
LISTENER = (
    "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
    "print('listens', flush=True); sys.stdin.read(); '-' in sys.argv or os.unlink(sys.argv[1])"
)


def runs(pid: int, program: str | None = None) -> bool:
    """Report whether a process exists and, if given, runs this program. A zombie does not count."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return tail.split()[0] != "Z" and program in (None, head.partition("(")[2])


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(agent: Agent, host: str = "web01") -> int:
    """Wait until the host is connected; return its master's pid."""
    return int(agent.wait_state(host, "connected")["pid"])


def test_a_stopped_master_is_replaced_and_delays_no_other(lab: Lab, agent: Agent) -> None:
    """After a change of network, the agent replaces a stopped master and its neighbour, and never hangs."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER, "web02": SERVER})
    agent.start(
        '[hosts.web01]\nlocal = ["9000:127.0.0.1:22"]\n[hosts.web02]\nlocal = ["9001:127.0.0.1:22"]\n'
    )
    stopped, other = pid_of(agent), pid_of(agent, "web02")
    os.kill(stopped, signal.SIGSTOP)
    events = agent.events()
    switched = lab.switch("home", "cafe")
    events.wait("connected", "web02")
    beside_s = time.monotonic() - switched
    until("the stopped one is gone", lambda: not runs(stopped))
    assert not runs(other)
    assert pid_of(agent) != stopped
    for host in ("web01", "web02"):
        agent.wait_forwards(host, {"local": "open"})
    switched = lab.switch("cafe", "home")
    events.wait("connected", "web02")
    assert beside_s < 3 * (time.monotonic() - switched) + 3, "slower than without the stopped one"


def test_a_master_that_is_stopped_without_any_event_delays_no_command(lab: Lab, agent: Agent) -> None:
    """`status`, `reconnect` and a new forward work for another host while one master is stopped."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER, "web02": SERVER})
    agent.start("[hosts.web01]\n[hosts.web02]\n")
    stopped, other = pid_of(agent), pid_of(agent, "web02")
    os.kill(stopped, signal.SIGSTOP)
    agent.configure(
        '[hosts.web01]\nlocal = ["9000:127.0.0.1:22"]\n[hosts.web02]\nlocal = ["9001:127.0.0.1:22"]\n'
    )
    agent.wait_forwards("web02", {"local": "open"})
    assert agent.cli("reconnect", "web01", deadline_s=10.0).returncode == 0
    assert pid_of(agent) != stopped
    until("the stopped one is gone", lambda: not runs(stopped))
    assert pid_of(agent, "web02") == other


def wedge(lab: Lab, agent: Agent, host: str) -> subprocess.Popen[str]:
    """Open a session, blackhole the line, and upload until ssh accepts no more data."""
    words = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-o", "ControlMaster=no", host]
    pipe = subprocess.PIPE
    child = lab.laptop.popen([*words, "echo ready; exec cat > /dev/null"], stdin=pipe, stdout=pipe)
    assert child.stdin
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    lab.blackhole(True)
    os.set_blocking(child.stdin.fileno(), False)
    took_at = time.monotonic()
    while time.monotonic() - took_at < 0.5:
        try:
            os.write(child.stdin.fileno(), bytes(65536))
            took_at = time.monotonic()
        except BlockingIOError:
            time.sleep(0.02)
    return child


@pytest.mark.parametrize("way", ["direct", "jump"])
def test_a_master_wedged_by_an_upload_into_a_hole_is_killed_for_good(
    lab: Lab, agent: Agent, way: str
) -> None:
    """A master with a full send buffer ignores TERMINATE and SIGTERM.

    The agent still ends it and its `ssh -W` child.
    """
    lab.join("home")
    lab.sshd()
    lab.sshd("203.0.113.11")
    jump = {"ProxyJump": "jump"} if way == "jump" else {}
    lab.ssh_config({"web01": {**SERVER, **jump}, "jump": {"HostName": "203.0.113.11"}})
    agent.start(CONFIG)
    pid = pid_of(agent)
    family = [pid, *children(pid)]
    assert len(family) == (2 if way == "jump" else 1)
    upload = wedge(lab, agent, "web01")
    try:
        lab.blackhole(False, "cafe")
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", "web01")
        until("master and transport are gone", lambda: not any(map(runs, family)))
        assert pid_of(agent) != pid
    finally:
        upload.kill()
        upload.communicate()


@pytest.mark.parametrize("end", ["disconnect", "stop"])
def test_an_attempt_that_is_given_up_leaves_no_carrier(lab: Lab, agent: Agent, end: str) -> None:
    """When the agent gives up an attempt, it also ends the attempt's `ssh -W`.

    In a black hole, that `ssh -W` would otherwise wait for minutes. The same applies when the agent stops.
    """
    lab.join("home")
    lab.ssh_config({"web01": {**SERVER, "ProxyJump": "jump"}, "jump": {"HostName": "203.0.113.11"}})
    lab.blackhole(True)
    agent.start(CONFIG)

    def ssh_pids() -> list[int]:
        return [pid for pid in lab.laptop.pids() if runs(pid, "ssh")]

    until("ssh and its transport run", lambda: len(ssh_pids()) == 2)
    if end == "stop":
        agent.stop()
        assert not ssh_pids()
    else:
        assert agent.cli("disconnect", "web01").returncode == 0
        until("both are gone", lambda: not ssh_pids())


def control_path(lab: Lab) -> Path:
    """Return the path on which web01's master listens."""
    return lab.files.ssh / "cm-web01"


def ready(lab: Lab, **options: str) -> None:
    """Go home, start a server, and write web01 into ssh_config."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {**SERVER, **options}})


@contextmanager
def listener(lab: Lab, path: Path, *, leaves: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run another program that listens on the path until its input ends. Unless `leaves`, it then removes the path."""
    pipe = subprocess.PIPE
    words = ["python3", "-c", LISTENER, str(path), *(["-"] if leaves else [])]
    child = lab.laptop.popen(words, stdin=pipe, stdout=pipe)
    try:
        assert child.stdout
        assert child.stdout.readline() == "listens\n"
        yield child
    finally:
        child.communicate()


def test_a_stale_socket_file_is_no_obstacle(lab: Lab, agent: Agent) -> None:
    """The new master replaces a socket file on which no process listens."""
    ready(lab)
    with listener(lab, control_path(lab), leaves=True):
        pass
    assert control_path(lab).is_socket()
    agent.start(CONFIG)
    assert agent.wait_state("web01", "connected")["control_path"] == str(control_path(lab))
    done = lab.laptop.run(["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-O", "check", "web01"])
    assert done.stderr.startswith("Master running"), done.stderr


@pytest.mark.parametrize("leaves", [False, True], ids=["unlinks", "leaves"])
def test_a_control_path_of_another_program_is_left_alone_until_that_ends(
    lab: Lab, agent: Agent, leaves: bool
) -> None:
    """The host is `failed` with `control-path-taken`, without a login. It is connected when the program has ended."""
    ready(lab)
    with listener(lab, control_path(lab), leaves=leaves) as other:
        inode = control_path(lab).stat().st_ino
        agent.start(CONFIG)
        problem = agent.wait_state("web01", "failed")["problem"]
        assert problem["code"] == "control-path-taken"
        assert str(control_path(lab)) in problem["title"]
        assert "python3" in problem["hint"]
        assert agent.cli("reconnect", "web01").returncode == 1
        assert agent.wait_state("web01", "failed")["problem"] == problem
        assert runs(other.pid)
        assert control_path(lab).stat().st_ino == inode
        assert lab.servers[0].logins() == 0
    agent.wait_state("web01", "connected")


def test_a_control_path_taken_while_its_master_runs_is_left_alone(lab: Lab, agent: Agent) -> None:
    """If another program takes the path of a living master, the new master does not displace it, and waits."""
    ready(lab)
    agent.start(CONFIG)
    pid_of(agent)
    control_path(lab).unlink()
    with listener(lab, control_path(lab)) as other:
        inode = control_path(lab).stat().st_ino
        lab.switch("home", "cafe")
        assert agent.wait_state("web01", "failed")["problem"]["code"] == "control-path-taken"
        assert runs(other.pid)
        assert control_path(lab).stat().st_ino == inode
    agent.wait_state("web01", "connected")


def test_a_control_path_that_is_too_long_fails_until_ssh_config_is_changed(lab: Lab, agent: Agent) -> None:
    """`control-path-too-long` suggests a shorter path, and the agent tries no login meanwhile."""
    ready(lab, ControlPath=f"~/.ssh/{'x' * 90}")
    agent.start(CONFIG)
    problem = agent.wait_state("web01", "failed")["problem"]
    assert problem["code"] == "control-path-too-long"
    assert "~/.ssh/cm-%C" in problem["hint"]
    assert lab.servers[0].logins() == 0
    lab.ssh_config({"web01": SERVER})
    agent.wait_state("web01", "connected")


@pytest.mark.parametrize("folders", ["sockets", "a/b/sockets"])
def test_a_folder_that_does_not_exist_is_named_with_its_remedy(lab: Lab, agent: Agent, folders: str) -> None:
    """The hint contains the command that creates the folder. The host is connected once that command has run."""
    ready(lab, ControlPath=f"~/.ssh/{folders}/%C")
    agent.start(CONFIG)
    problem = agent.wait_state("web01", "failed")["problem"]
    assert str(lab.files.ssh / folders) in problem["title"]
    command = problem["hint"].partition(": ")[2]
    assert lab.laptop.run(shlex.split(command)).returncode == 0, command
    agent.wait_state("web01", "connected")
