"""Suspended processes are not dead: a suspended ssh, a suspended transport, a stuck program on the server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.at_terminal import AtTerminal
from tests.lab.matrix import HOST, OPTIONS, alive, bring_up, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL, SERVER

CGROUPS_V2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Suspend a process during the block."""
    os.kill(pid, signal.SIGSTOP)
    until("it is suspended", lambda: state(pid) == "T")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def state(pid: int) -> str:
    """Return the state letter of a process (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def flicker(lab: Lab) -> None:
    """Lose the carrier for half a second. The address stays the same."""
    lab.link_down()
    time.sleep(0.5)
    lab.link_up()


def until_suspended(agent: Agent, host: str) -> None:
    """Wait until the agent reports the suspension as the reason of its wait."""
    problem = agent.wait_state(host, "waiting")["problem"]
    assert problem["code"] == "suspended"


def test_a_session_suspended_at_its_terminal_survives_a_flicker(lab: Lab, agent: Agent) -> None:
    """Without a configuration, `ssh web01` in bash is the master.

    The agent keeps it while ~^Z suspends it, until fg.
    """
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlMaster": "auto"}})
    agent.start("")
    with AtTerminal(lab.laptop, ["bash", "--norc", "-i"], {**agent.env, "HISTFILE": ""}) as terminal:
        terminal.enter(f"ssh {HOST}\r")
        pid = int(agent.wait_state(HOST, "connected")["pid"])
        events = agent.events()
        terminal.enter("UNSAVED=work; echo is $UNSAVED\r")
        terminal.expect("is work")
        terminal.enter("\r~\x1a")
        until("it is suspended", lambda: state(pid) == "T")
        flicker(lab)
        until_suspended(agent, HOST)
        assert alive(pid)
        terminal.enter("fg\r")
        assert events.wait("master-kept", HOST)["pid"] == pid
        terminal.enter("echo still $UNSAVED\r")
        terminal.expect("still work")
        assert agent.wait_state(HOST, "connected")["pid"] == pid
        terminal.enter("exit\r")
        terminal.expect("closed")
        terminal.enter("exit\r")
        terminal.ended()


@pytest.mark.parametrize("which", ["ssh -W", "carrier"])
def test_a_suspended_transport_is_no_dead_connection(lab: Lab, agent: Agent, which: str) -> None:
    """The master runs, but its transport is suspended: the `ssh -W`, or the master that carries this `ssh -W`."""
    lab.join("home")
    lab.sshd()
    lab.sshd(INTERNAL)
    through = {} if which == "ssh -W" else {"ControlMaster": "auto", "ControlPersist": "yes"}
    lab.ssh_config(
        {
            "srv": {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C", **through},
            "int": {"HostName": INTERNAL, "ControlPath": "~/.ssh/cm-%C", "ProxyJump": "srv"},
        }
    )
    config = "[hosts.int]\n" if which == "ssh -W" else "[agent]\nadopt = false\n[hosts.int]\n"
    up = bring_up(lab, agent, config, "int")
    pid = transport(up.pid) if which == "ssh -W" else carrier(lab)
    with stopped(pid):
        flicker(lab)
        until_suspended(agent, "int")
    up.assert_kept(proven=True)


def transport(master: int) -> int:
    """Return the pid of a master's own `ssh -W`."""
    return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])


def carrier(lab: Lab) -> int:
    """Return the pid of the master of `srv`. ssh itself started it for the jump."""
    words = lab.laptop.run(["ssh", "-O", "check", "srv"]).stderr
    return int(words.partition("pid=")[2].partition(")")[0])


def test_a_stuck_sentinel_is_no_dead_connection(lab: Lab, agent: Agent) -> None:
    """The sentinel's `cat` is suspended on the server, but new sessions work.

    A second probe, by session, detects that.
    """
    up = bring_up(lab, agent)
    cats = [pid for server in lab.servers for pid in server.sessions() if is_cat(pid)]
    assert len(cats) == 1
    with stopped(cats[0]):
        flicker(lab)
        up.assert_kept(proven=True)


def is_cat(pid: int) -> bool:
    """Report whether a process is the sentinel's `cat`."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"cat\0")


def test_a_frozen_control_group_is_no_dead_connection(lab: Lab, agent: Agent) -> None:
    """A process frozen by `systemctl freeze` looks idle, not stopped, but cannot answer a probe either."""
    groups = next((one for one in CGROUPS_V2 if (one / "cgroup.procs").exists()), None)
    if groups is None or not os.access(groups, os.W_OK):
        pytest.skip("needs the right to make a control group (version 2)")
    # The laptop's own /sys shows its network namespace, and no control groups.
    shown = lab.laptop.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], admin=True)
    if shown.returncode != 0:
        pytest.skip(f"the sandbox cannot show control groups: {shown.stderr.strip()}")
    up = bring_up(lab, agent)
    with frozen(up.pid, groups):
        flicker(lab)
        until_suspended(agent, HOST)
        assert alive(up.pid)
    up.assert_kept(proven=True)


@contextmanager
def frozen(pid: int, groups: Path) -> Iterator[None]:
    """Freeze a process in its own control group during the block."""
    own = groups / f"trayagent-test-{os.getpid()}"
    before = Path(f"/proc/{pid}/cgroup").read_text().rpartition("0::")[2].strip()
    own.mkdir()
    try:
        (own / "cgroup.procs").write_text(str(pid))
        (own / "cgroup.freeze").write_text("1")
        until("it is frozen", lambda: "frozen 1" in (own / "cgroup.events").read_text())
        yield
    finally:
        (own / "cgroup.freeze").write_text("0")
        if alive(pid):
            (groups / before.lstrip("/") / "cgroup.procs").write_text(str(pid))
        until("the group is empty", lambda: "populated 0" in (own / "cgroup.events").read_text())
        own.rmdir()


def test_a_master_that_waits_for_its_user_survives_a_flicker(lab: Lab, agent: Agent) -> None:
    """With `ControlMaster ask`, ssh reads no data while it prompts. The agent's own probe may cause the prompt."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlMaster": "ask"}})
    asked, answer = lab.files.root / "asked", lab.files.root / "answer"
    asker = lab.files.root / "asker"
    asker.write_text(f"#!/bin/sh\n: > {asked}\nwhile [ ! -e {answer} ]; do sleep 0.1; done\necho yes\n")
    asker.chmod(0o700)
    env = {"SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":77"}
    agent.start("")
    pipe = subprocess.PIPE
    session = lab.laptop.popen(["ssh", HOST, "echo up; exec cat"], stdin=pipe, stdout=pipe, env=env)
    assert session.stdin is not None
    assert session.stdout is not None
    assert session.stdout.readline() == "up\n"
    agent.wait_state(HOST, "connected")
    flicker(lab)
    until_suspended(agent, HOST)
    assert asked.exists()
    answer.touch()
    assert agent.wait_state(HOST, "connected")["pid"] == session.pid
    session.stdin.write("still\n")
    session.stdin.flush()
    assert session.stdout.readline() == "still\n"
    session.stdin.close()
    assert session.wait(20) == 0
