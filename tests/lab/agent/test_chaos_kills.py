"""The agent is killed at different moments of a recovery."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
BY_HAND = {**SERVER, "ControlMaster": "auto", "ControlPersist": "5m"}


def ssh_pids(lab: Lab) -> dict[int, str]:
    """Return the ssh processes of the laptop, with their command lines."""
    found = {}
    for pid in lab.laptop.pids():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if Path(f"/proc/{pid}/comm").read_text() == "ssh\n" and state != "Z":
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def settled(lab: Lab, agent: Agent) -> str:
    """Return what is still wrong, or "": hosts that are not connected, extra processes, sockets or logs."""
    hosts = {h["name"]: h for h in agent.status()["hosts"]}
    states = {name: host["state"] for name, host in hosts.items()}
    if states != {"web01": "connected", "hand": "connected"}:
        return f"{states}"
    others = {
        pid: words for pid, words in ssh_pids(lab).items() if pid not in {h["pid"] for h in hosts.values()}
    }
    if others:
        return f"other processes than the masters: {others}"
    sockets = sorted(p.name for p in lab.files.ssh.iterdir() if p.is_socket())
    if sockets != ["cm-hand", "cm-web01"]:
        return f"sockets: {sockets}"
    logs = {p.name for p in agent.runtime_dir.glob("*.log")}
    foreign = logs - {f"master-{h['pid']}.log" for h in hosts.values()}
    return f"logs: {foreign}" if foreign else ""


def test_a_take_over_that_was_cut_short_behind_its_rename_is_finished(lab: Lab, agent: Agent) -> None:
    """If the agent dies after the rename, the next one keeps the new master on the path and ends the old one."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start("[hosts.web01]\n")
    old = agent.wait_state("web01", "connected")["pid"]
    agent.kill9()
    target = lab.files.ssh / "cm-web01"
    fresh = target.with_name("cm-web01.new")
    kept = agent.records()
    log = agent.runtime_dir / "attempt-1-1.log"
    log.touch()
    begun = {
        "host": "web01",
        "target": str(target),
        "log": str(log),
        "boot": kept["masters"][str(old)]["boot"],
    }
    agent.records_file.write_text(json.dumps(kept | {"attempts": {str(fresh): begun}}))
    words = [
        "ssh",
        "-F",
        agent.env["TRAYAGENT_SSH_CONFIG"],
        "-M",
        "-N",
        "-o",
        f"ControlPath={fresh}",
        "web01",
    ]
    new = lab.laptop.popen(words, stdin=subprocess.DEVNULL)
    until("the new master listens", fresh.is_socket)
    fresh.rename(target)
    agent.start()
    until("one master is left", lambda: set(ssh_pids(lab)) == {new.pid})
    assert agent.wait_state("web01", "connected")["pid"] == new.pid
    assert Path(agent.runtime_dir / f"master-{new.pid}.log").exists()
    agent.stop()
    assert set(ssh_pids(lab)) == {new.pid}


@pytest.mark.parametrize("first_ms", [0, 50])
def test_an_agent_killed_at_any_moment_of_a_recovery_leaves_nothing_and_is_followed_by_another(
    lab: Lab, agent: Agent, first_ms: int
) -> None:
    """After a kill at any time, the next agent adopts or replaces the masters: one per path, without leftovers."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER, "hand": BY_HAND})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    ssh = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "hand", "true"]
    assert lab.laptop.run(ssh).returncode == 0
    here, there = "home", "cafe"
    for moment_ms in range(first_ms, 1000, 200):
        agent.wait_state("hand", "connected")
        t0 = lab.switch(here, there)
        # the moment at which this test kills the agent
        time.sleep(max(0.0, t0 + moment_ms / 1e3 - time.monotonic()))
        agent.kill9()
        time.sleep(0.3)  # give the processes that the agent left running time to continue
        agent.start()
        limit = time.monotonic() + 20.0
        while complaint := settled(lab, agent):
            assert time.monotonic() < limit, f"killed {moment_ms} ms after the change: {complaint}"
            time.sleep(0.1)
        here, there = there, here
