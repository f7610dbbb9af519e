"""Servers that write without end, and files that lie on a control path."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.matrix import HOST, OPTIONS, until
from trayagent.sandbox import Agent, Lab

CONFIG = f"[hosts.{HOST}]\n"


def ticks(pid: int | None) -> int:
    """Return the processor time of a process, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def ticks_in(seconds: float, *pids: int | None) -> int:
    """Return how much processor time the processes use in this time, in clock ticks."""
    before = sum(ticks(pid) for pid in pids)
    time.sleep(seconds)
    return sum(ticks(pid) for pid in pids) - before


def program(pid: int) -> str:
    """Return the name of a process's program. A process that has just ended has none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.mark.parametrize("how", ["forced", "lines", "empty lines"])
def test_a_server_that_writes_without_end_costs_no_processor_time(lab: Lab, agent: Agent, how: str) -> None:
    """The agent stops reading, whether a forced command writes or a start file of the shell. The master stays."""
    lab.join("home")
    lab.sshd(config=["ForceCommand yes"] if how == "forced" else [])
    if how != "forced":
        word = "y" if how == "lines" else "''"
        (lab.files.far_home / ".bashrc").write_text(f"( sleep 1; exec yes {word} ) &\n")
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    until("the agent gave up", lambda: "endless output" in (agent.state_dir / "agent.log").read_text())
    until(
        "the session ended", lambda: set(map(program, lab.servers[0].sessions())) <= {"sshd", "sshd-session"}
    )
    until("both are idle", lambda: ticks_in(0.5, agent.pid, pid) <= 1)
    assert agent.wait_state(HOST, "connected")["pid"] == pid


def test_a_regular_file_on_a_control_path_is_not_overwritten(lab: Lab, agent: Agent) -> None:
    """The host fails with the reason, also if the file appears during a recovery. Without the file, it connects."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlPath": "~/.ssh/cm-%n"}})
    path = lab.files.ssh / f"cm-{HOST}"
    path.write_text("mine\n")
    agent.start(CONFIG)
    problem = agent.wait_state(HOST, "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert path.read_text() == "mine\n"
    path.unlink()
    pid = agent.wait_state(HOST, "connected")["pid"]
    path.unlink()
    path.write_text("mine\n")
    lab.switch("home", "cafe")
    until("the file is reported", lambda: agent.listed_host(HOST)["problem"])
    assert agent.listed_host(HOST)["problem"]["code"] == "control-path-taken"
    assert path.read_text() == "mine\n"
    path.unlink()
    until("a new master", lambda: agent.listed_host(HOST)["pid"] not in {None, pid})
    assert path.is_socket()
