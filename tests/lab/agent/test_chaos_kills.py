"""The agent is killed at random moments of recoveries.

The suite kills it three times with 3 hosts. `TRAYAGENT_KILLS=300` kills it 300 times with 3 hosts, and 300 times
with 30. `TRAYAGENT_KILLS_SEED` selects other random moments.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
BY_HAND = {**SERVER, "ControlMaster": "auto", "ControlPersist": "yes"}
THREE = ("web01", "web02")  # the third is connected by hand
THIRTY = tuple(f"web{number:02}" for number in range(1, 30))
KILLS = int(os.environ.get("TRAYAGENT_KILLS", "3"))
SEED = os.environ.get("TRAYAGENT_KILLS_SEED", "1")
LONG = pytest.mark.skipif(KILLS < 30, reason="takes a minute; set TRAYAGENT_KILLS=300")
CHECK_EVERY = 3 if KILLS < 30 else 10  # kills until the hosts may settle


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


def settled(lab: Lab, agent: Agent, names: tuple[str, ...]) -> str:
    """Return what is still wrong, or "": hosts that are not connected, extra processes or files."""
    hosts = {h["name"]: h for h in agent.status()["hosts"]}
    states = {name: host["state"] for name, host in hosts.items()}
    if states != dict.fromkeys(names, "connected"):
        return f"{states}"
    others = {
        pid: words for pid, words in ssh_pids(lab).items() if pid not in {h["pid"] for h in hosts.values()}
    }
    if others:
        return f"other processes than the masters: {others}"
    sockets = sorted(p.name for p in lab.files.ssh.iterdir() if p.is_socket())
    if sockets != sorted(f"cm-{name}" for name in names):
        return f"sockets: {sockets}"
    files = {p.name for p in agent.runtime_dir.iterdir()}
    expected = {"agent.sock", "agent.lock"}
    expected |= {f"master-{h['pid']}.{kind}" for h in hosts.values() for kind in ("log", "err")}
    return f"files: {files - expected}" if files - expected else ""


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


@pytest.mark.timeout(300 + 30 * KILLS)
@pytest.mark.parametrize("names", [THREE, pytest.param(THIRTY, marks=LONG)], ids=["3", "30"])
def test_an_agent_killed_at_random_moments_of_recoveries_leaves_nothing(
    lab: Lab, agent: Agent, names: tuple[str, ...]
) -> None:
    """After kills at random moments, the next agent has one master per path, and no leftovers.

    Most kills come while the agent still recovers from the kill before. Not one login is refused.
    """
    random = Random(f"{SEED} {len(names)}")  # noqa: S311  # not for security
    lab.join("home")
    lab.sshd(config=["MaxStartups 1000"])
    lab.ssh_config({**dict.fromkeys(names, SERVER), "hand": BY_HAND})
    agent.start("".join(f"[hosts.{name}]\n" for name in names))
    for name in names:
        agent.wait_state(name, "connected", deadline_s=60.0)
    ssh = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "hand", "true"]
    assert lab.laptop.run(ssh).returncode == 0
    here, moved = "home", []
    for number in range(1, KILLS + 1):
        there = random.choice([n for n in ("home", "cafe", "office") if n != here])
        agent.wait_state("hand", "connected", deadline_s=60.0)
        t0 = lab.switch(here, there)
        moment_s = random.choice([random.uniform(0.0, 0.3), random.uniform(0.0, 0.05 * len(names) + 1.0)])
        moved.append(f"{here} to {there}, {moment_s * 1e3:.0f} ms")
        # the moment at which this test kills the agent
        time.sleep(max(0.0, t0 + moment_s - time.monotonic()))
        agent.kill9()
        if random.random() < 0.5:
            time.sleep(random.uniform(0.0, 0.5))  # the processes that the agent left continue meanwhile
        agent.start()
        here = there
        if number % CHECK_EVERY and number != KILLS:
            continue
        limit = time.monotonic() + 30.0 + 2.0 * len(names)
        while complaint := settled(lab, agent, (*names, "hand")):
            assert time.monotonic() < limit, f"kill {number}, {moved[-CHECK_EVERY:]}: {complaint}"
            time.sleep(0.2)
    assert "Failed " not in lab.servers[0].said()
