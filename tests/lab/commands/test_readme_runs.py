"""Runs every command of the README in the laptop, with an agent that has a host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cli.test_readme import OURS, words_of
from trayagent.sandbox import Agent, Lab

PATIENCE_S = 20.0
ELSEWHERE = {"run", "demo", "stop"}
"""Commands that this test does not run: its agent is `run` and `stop`, and the demo has its own test."""


def test_every_command_of_the_readme_does_what_it_is_for(lab: Lab, agent: Agent, tmp_path: Path) -> None:
    """Every command of the README succeeds exactly as printed, for a connected host."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    agent.env["XDG_CONFIG_HOME"] = str(tmp_path)
    ours = [words_of(line)[1:] for line in OURS if line.startswith("trayagent ")]
    for words in (words for words in ours if words[0] not in ELSEWHERE):
        name = words[0]
        if name == "init":  # the command must not overwrite the agent's configuration
            agent.env["TRAYAGENT_CONFIG"] = str(tmp_path / "first.toml")
            _run(agent, [*words, "--yes"])
            agent.env["TRAYAGENT_CONFIG"] = str(agent.config)
        elif name == "events":
            _watched(agent, lab, words)
        elif name in {"login", "attach"}:
            _at_terminal(agent, words)
        else:
            values = {"FILE": str(tmp_path / "page.html"), "SPEC": "8080:localhost:80"}
            _run(agent, [values.get(word, word) for word in words])
        if name in {"disconnect", "pause"}:
            _run(agent, ["resume", "web01"])
            _run(agent, ["reconnect", "web01"])
    assert (tmp_path / "first.toml").exists()
    _run(agent, ["stop"])
    assert agent.wait_end() == 0


def _run(agent: Agent, words: list[str]) -> None:
    done = agent.cli(*words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


def _watched(agent: Agent, lab: Lab, words: list[str]) -> None:
    """Run a command that runs until it is interrupted, and check that it prints an event."""
    pipe = subprocess.PIPE
    child = lab.laptop.popen(agent.command(*words), env=agent.env, stdout=pipe)
    assert child.stdout is not None
    for change in ("pause", "resume"):
        _run(agent, [change, "web01"])
    said = child.stdout.readline()
    child.terminate()
    child.communicate(timeout=PATIENCE_S)
    assert "web01" in said


def _at_terminal(agent: Agent, words: list[str]) -> None:
    """Run a command at a terminal.

    `attach` needs root, because only an sshd that runs as root can provide a terminal.
    """
    if words[0] == "attach" and os.getuid() != 0:
        return
    with agent.at_terminal(*words) as terminal:
        if words[0] == "attach":
            terminal.expect("# ")
            terminal.enter("exit\r")
        assert terminal.ended(PATIENCE_S) == 0
