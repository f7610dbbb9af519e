"""Unnamed masters: the agent ends them after each change of network, but only if the server itself answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

Started = Callable[[], int]


def ansible_words(lab: Lab) -> list[str]:
    """Return the command line of Ansible's ssh connection plugin (2.19), with its defaults."""
    return [
        "ssh", "-C", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", "KbdInteractiveAuthentication=no",
        "-o", "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
        "-o", "PasswordAuthentication=no", "-o", f'User="{lab.files.user}"', "-o", "ConnectTimeout=10",
        "-o", f'ControlPath="{lab.files.home}/.ansible/cp/1a2b3c4d5e"', SERVER,
        "/bin/sh -c 'echo ~ && sleep 0'",
    ]  # fmt: skip


def tramp_words(lab: Lab) -> list[str]:
    """Return the command line of Emacs' TRAMP, which keeps its sockets in a folder that the agent does not watch."""
    folder = lab.files.home / "emacs"
    folder.mkdir(exist_ok=True)
    return [
        "ssh", "-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/tramp.%C", "-o", "ControlPersist=no",
        "-l", lab.files.user, "-e", "none", SERVER, "cat",
    ]  # fmt: skip


def by_hand_words(lab: Lab) -> list[str]:
    """Return the command line of a user who has ControlMaster for all hosts, but no alias for this host."""
    return ["ssh", f"{lab.files.user}@{SERVER}", "true"]


WORDS = {"by hand": by_hand_words, "ansible": ansible_words, "tramp": tramp_words}
PATHS = {"by hand": ".ssh/cm-*", "ansible": ".ansible/cp/*", "tramp": "emacs/tramp.*"}
EVERY_HOST = {"ControlMaster": "auto", "ControlPath": "~/.ssh/cm-%C", "ControlPersist": "60"}


def started(lab: Lab, kind: str) -> int:
    """Start a master of this kind, and return its pid."""
    (lab.files.home / ".ansible" / "cp").mkdir(parents=True, exist_ok=True)
    lab.laptop.popen(WORDS[kind](lab), stdin=-1)

    def listening() -> list[int]:
        checks = [["ssh", "-S", str(path), "-O", "check", "any"] for path in lab.files.home.glob(PATHS[kind])]
        found = (re.search(r"pid=(\d+)", lab.laptop.run(check).stderr) for check in checks)
        return [int(match[1]) for match in found if match is not None]

    until(f"the master of {kind} listens", listening, 20.0)
    return listening()[0]


def found(agent: Agent, pid: int) -> None:
    """Wait until the agent knows the master."""
    until("it was found", lambda: pid in {host["pid"] for host in agent.status()["hosts"]})


def freed(pid: int) -> None:
    """Wait until the master has ended."""
    until("it was freed", lambda: not alive(pid), 20.0)


@pytest.fixture
def home(lab: Lab) -> Lab:
    """Join home, start a known server, and set ControlMaster for all hosts."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({}, **EVERY_HOST)
    return lab


@pytest.mark.parametrize("kind", WORDS)
def test_an_unnamed_master_is_freed_at_every_move(home: Lab, agent: Agent, kind: str) -> None:
    """The record of an ended unnamed master does not become a host, so the agent ends the next one like the first."""
    agent.start("")
    places = ["home", "cafe"]
    for move in range(3):
        pid = started(home, kind)
        if kind != "tramp":  # the agent watches the folder of the other kinds
            found(agent, pid)
        home.switch(places[move % 2], places[(move + 1) % 2])
        freed(pid)
    assert not [h for h in agent.status()["hosts"] if h["state"] not in {"connected", "idle"}]


@pytest.mark.parametrize("lie", ["banner", "disconnect", "key"])
def test_silence_frees_no_unnamed_master_unless_its_server_answers(home: Lab, agent: Agent, lie: str) -> None:
    """A gateway that blocks the old connection and impersonates the server proves nothing, so the master is kept."""
    agent.start("")
    pid = started(home, "by hand")
    found(agent, pid)
    liar = home.liar("office")
    match lie:
        case "banner":
            liar.stalls()
        case "disconnect":
            liar.disconnects("bye")
        case _:
            trap = liar.pretends()
    home.switch("home", "office")
    until(
        "the lie was told", lambda: liar.visits >= 1 or (lie == "key" and "Connection" in trap.said()), 20.0
    )
    until("it was judged", lambda: "failed: attempt=" in (agent.state_dir / "agent.log").read_text(), 20.0)
    assert alive(pid)


def test_silence_frees_an_unnamed_master_when_its_server_answers(home: Lab, agent: Agent) -> None:
    """On a network with the same addresses and a silent gateway, the server's known key proves the master stale."""
    home.set_gateway("office", nat=True, silent=True)
    agent.start("")
    pid = started(home, "by hand")
    found(agent, pid)
    logins = home.servers[0].logins()
    home.switch("home", "office")
    freed(pid)
    said = home.servers[0].said()
    assert home.servers[0].logins() == logins
    assert "Failed" not in said
