"""Endless output of ssh and its ProxyCommand cannot fill the disk, and the user's own files have no limit."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.lab.matrix import HOST, OPTIONS, alive, need, until
from trayagent.sandbox import Agent, Lab
from trayagent.ssh.master.master_logs import MAX_SIZE

CONFIG = f"[hosts.{HOST}]\n"
# Fast output, such as endless banners of a server that never answers the login.
FLOOD = 'sh -c "yes banner >&2"'
POUR = MAX_SIZE * 3
LARGE = 40_000_000
MARGIN = 64 * MAX_SIZE
"""Allow for what is written between two checks on a busy machine. Without a bound, it would be hundreds of MB."""


def logs_of(agent: Agent, kind: str) -> list[Path]:
    """Return the log files of attempts or masters."""
    return [path for path in agent.runtime_dir.glob(f"{kind}-*") if path.suffix in {".log", ".err"}]


def test_an_attempt_that_writes_without_end_stays_small(lab: Lab, agent: Agent) -> None:
    """The agent empties the attempt's log files again and again, and does not end the attempt for it."""
    lab.join("home")
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": FLOOD}})
    agent.start(CONFIG)
    emptied, last, most = 0, 0, 0
    end = time.monotonic() + 6.0
    while time.monotonic() < end:
        size = sum(path.stat().st_size for path in logs_of(agent, "attempt") if path.exists())
        emptied += size < last
        last, most = size, max(most, size)
        time.sleep(0.01)
    assert emptied >= 2
    assert most < MARGIN
    view = agent.host(HOST)
    assert view is not None
    assert view["state"] == "connecting"


def test_the_logs_of_a_connected_master_are_emptied_and_its_death_is_still_understood(
    lab: Lab, agent: Agent
) -> None:
    """After the agent emptied the log files, ssh appends its last message at the start, where the agent finds it."""
    need(shutil.which("socat"), "socat")
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": "socat - TCP:%h:%p"}})
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    logs = logs_of(agent, "master")
    assert {path.suffix for path in logs} == {".log", ".err"}
    for path in logs:
        with path.open("ab") as file:
            file.write(b"x" * POUR)

    def short() -> bool:
        return all(path.stat().st_size < MAX_SIZE for path in logs)

    until("both are short", short, 10.0)
    assert alive(pid)
    ssh = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"]]
    own = next(path for path in logs if path.suffix == ".log")
    assert lab.laptop.run([*ssh, HOST, "true"]).returncode == 0
    assert lab.laptop.run([*ssh, "-O", "exit", HOST]).returncode == 0
    until("the master ended", lambda: not alive(pid), 10.0)
    # the agent knows from ssh's last line that the user ended the master
    assert agent.wait_state(HOST, "idle")["held"]
    assert not own.exists()


def test_a_file_that_a_master_writes_for_its_user_has_no_limit(lab: Lab, agent: Agent) -> None:
    """The client passes its output file to the master, so no limit for logs may apply to that file."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG)
    agent.wait_state(HOST, "connected")
    copy = lab.files.root / "copy"
    ssh = f"ssh -F {agent.env['TRAYAGENT_SSH_CONFIG']} {HOST}"
    assert lab.laptop.run(["sh", "-c", f"{ssh} 'head -c {LARGE} /dev/zero' >{copy}"]).returncode == 0
    assert copy.stat().st_size == LARGE
    assert lab.laptop.run(["sh", "-c", f"{ssh} echo more >>{copy}"]).returncode == 0
    assert copy.stat().st_size == LARGE + len("more\n")
