"""A host that roams: sessions and forwarded connections survive changes of network and the end of the agent.

`TRAYAGENT_ROAM_GAP_S=600` makes the long gap without a network ten minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.masters.test_drain import Session
from tests.lab.matrix import alive, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER, SERVER
from trayagent.ssh.os.processor import has_aes

HOST = "web01"
OPTIONS = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%n"}
ROAMS = f"[hosts.{HOST}]\nroam = true\n"
GAP_S = float(os.environ.get("TRAYAGENT_ROAM_GAP_S", "10"))

# Connects to a port of this machine, sends each line from stdin, and prints the answer.
TALK = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
lines = sock.makefile("rw")
for line in sys.stdin:
    lines.write(line); lines.flush()
    print(lines.readline(), end="", flush=True)
"""


class Connection:
    """A TCP connection through a local forward to an echo service of the server."""

    def __init__(self, lab: Lab, port: int) -> None:
        pipe = subprocess.PIPE
        self._child = lab.laptop.popen(
            [sys.executable, "-I", "-c", TALK, str(port)], stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert self.echoes()

    def echoes(self) -> bool:
        """Report whether the service echoes a line."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write("line\n")
        self._child.stdin.flush()
        return str(self._child.stdout.readline()) == "line\n"


def roaming(lab: Lab, agent: Agent, table: str = "") -> dict[str, Any]:
    """Connect the host from home, and return its view once it roams."""
    lab.join("home")
    if not lab.servers:
        lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(ROAMS + table)
    return roams(agent)


def has_cheap_cipher(pid: int) -> bool:
    """Report whether the command line of a master sets Ciphers."""
    return b"\0Ciphers=" in Path(f"/proc/{pid}/cmdline").read_bytes()


def roams(agent: Agent) -> dict[str, Any]:
    """Wait until the host roams and its sessions are attached, and return its view."""
    until("it roams", lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), 60.0)
    return agent.wait_state(HOST, "connected")


def test_sessions_and_forwarded_connections_go_on_after_moves(lab: Lab, agent: Agent) -> None:
    """Each move replaces the outer master. The inner master, a session and a connection through -L stay.

    A new link starts no process on the server, since sshd itself connects it to the far relay's socket. Nothing of the
    old outer masters is left over: no login on the server, where sshd would wait for hours, and no file on the laptop.
    """
    lab.echo(8000)
    before = roaming(lab, agent, 'local = ["9000:127.0.0.1:8000"]\n')
    agent.wait_forwards(HOST, {"local": "open"})
    assert has_cheap_cipher(before["pid"])
    # the agent sets Ciphers only if ssh_config does not
    assert has_cheap_cipher(before["roaming"]["pid"]) == has_aes()
    session, connection = Session(lab), Connection(lab, 9000)
    inner, logins = before["roaming"]["pid"], len(lab.servers[0].sessions())
    assert listener(lab, HOST) == inner
    for number, (left, joined) in enumerate((("home", "cafe"), ("cafe", "office"), ("office", "home"))):
        events = agent.events()
        lab.switch(left, joined)
        moved = events.wait("moved", HOST, deadline_s=60.0)
        assert moved["sessions"] == 1
        assert session.echoes()
        assert connection.echoes()
        now = agent.wait_state(HOST, "connected")
        assert now["roaming"]["pid"] == inner
        assert now["roaming"]["moves"] == number + 1
    assert now["pid"] != before["pid"]
    assert has_cheap_cipher(now["pid"])
    until("the server is clean", lambda: len(lab.servers[0].sessions()) <= logins, 20.0)
    assert session.echoes()
    assert "no direct link" not in (agent.state_dir / "agent.log").read_text()
    assert not list(agent.runtime_dir.glob("connection-link-*"))
    assert session.end() == 0
    assert Session(lab).end() == 0
    assert "the host roams" in agent.cli("why", HOST).stdout
    assert "roams" in agent.cli("status").stdout


def test_a_server_that_forwards_no_sockets_runs_a_command_for_each_link(lab: Lab, agent: Agent) -> None:
    """Without AllowStreamLocalForwarding, each link runs a command of the far relay on the server."""
    lab.sshd(config=["AllowStreamLocalForwarding no"])
    roaming(lab, agent)
    session = Session(lab)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("moved", HOST, deadline_s=60.0)
    assert session.echoes()
    assert session.end() == 0
    assert "no direct link" in (agent.state_dir / "agent.log").read_text()


def test_a_line_that_dies_without_a_word_is_found_when_somebody_types(lab: Lab, agent: Agent) -> None:
    """If a router silently drops the connection, the near relay notices as soon as the user types."""
    outer = roaming(lab, agent)
    session = Session(lab)
    assert session.echoes()
    events = agent.events()
    lab.lose_connection("home", int(outer["local"].rpartition(":")[2]))
    began = time.monotonic()
    assert session.echoes()
    took = time.monotonic() - began
    print(f"a silent loss: {took:.1f} s")  # noqa: T201  # shown by pytest -s
    events.wait("moved", HOST, deadline_s=60.0)
    assert session.end() == 0


def test_the_next_agent_goes_on_with_what_was_open(lab: Lab, agent: Agent) -> None:
    """If the agent is killed without a network and started again on another one, the open session continues."""
    inner = roaming(lab, agent)["roaming"]["pid"]
    session = Session(lab)
    lab.leave("home")
    agent.kill9()
    lab.join("cafe")
    agent.start()
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == inner
    assert session.end() == 0


def test_the_next_agent_finds_what_is_still_attached(lab: Lab, agent: Agent) -> None:
    """An agent restarted on the same network finds both masters, and a later move works as before."""
    before = roaming(lab, agent)
    session = Session(lab)
    agent.kill9()
    assert session.echoes()
    agent.start()
    now = roams(agent)
    assert (now["roaming"]["pid"], now["pid"]) == (before["roaming"]["pid"], before["pid"])
    lab.switch("home", "cafe")
    assert session.echoes()
    assert session.end() == 0


def test_a_session_survives_sleep_and_wakes_elsewhere(lab: Lab, agent: Agent) -> None:
    """A session survives if all processes of the laptop are stopped for 10 s and continue on another network."""
    inner = roaming(lab, agent)["roaming"]["pid"]
    session = Session(lab)
    lab.suspend()
    lab.switch("home", "cafe")
    time.sleep(10)
    lab.resume()
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == inner
    assert session.end() == 0


@pytest.mark.timeout(240 + GAP_S)
def test_a_session_survives_a_long_gap(lab: Lab, agent: Agent) -> None:
    """Text that the user types without a network arrives afterwards, exactly once.

    `status` shows waiting sessions as soon as the outer master's address is gone, even before data is sent.
    """
    inner = roaming(lab, agent)["roaming"]["pid"]
    session = Session(lab)
    lab.leave("home")
    host = agent.wait_state(HOST, "offline")
    assert not host["roaming"]["attached"]
    assert host["roaming"]["away_since"] is not None
    session.types("typed while away")
    time.sleep(GAP_S)
    assert "wait for the next connection" in agent.cli("status").stdout
    lab.join("cafe")
    assert session.reads() == "typed while away"
    assert session.echoes()
    now = roams(agent)["roaming"]
    assert (now["pid"], now["away_since"]) == (inner, None)
    assert session.end() == 0


def test_disconnect_ends_both_masters_and_what_is_on_the_server(lab: Lab, agent: Agent) -> None:
    """After `disconnect`, no process is left on either machine.

    `ssh -O exit` ends both masters, too, and the host stays disconnected, as on a plain host.
    """
    before = roaming(lab, agent)
    assert agent.cli("disconnect", HOST).returncode == 0
    agent.wait_state(HOST, "idle")
    until("both ended", lambda: not alive(before["pid"]) and not alive(before["roaming"]["pid"]), 20.0)
    until("the server is clean", lambda: not lab.servers[0].sessions(), 20.0)
    assert agent.cli("reconnect", HOST).returncode == 0
    again = roams(agent)
    assert lab.laptop.run(["ssh", "-O", "exit", HOST]).returncode == 0
    host = agent.wait_state(HOST, "idle")
    assert host["held"] and host["roaming"] is None
    until("both ended", lambda: not alive(again["pid"]) and not alive(again["roaming"]["pid"]), 20.0)


def test_a_killed_inner_master_leaves_a_plain_host_that_roams_again(lab: Lab, agent: Agent) -> None:
    """After the inner master was killed, the host keeps its outer master and roams again with a new inner master."""
    before = roaming(lab, agent)
    os.kill(before["roaming"]["pid"], signal.SIGKILL)
    until("it ended", lambda: not alive(before["roaming"]["pid"]))
    now = roams(agent)
    assert now["pid"] == before["pid"]
    assert now["roaming"]["pid"] != before["roaming"]["pid"]
    assert listener(lab, HOST) == now["roaming"]["pid"]
    assert Session(lab).end() == 0


def test_a_server_without_python_keeps_a_plain_connection(lab: Lab, agent: Agent) -> None:
    """On a server without Python, the agent reports why the host does not roam, and the plain connection works."""
    lab.join("home")
    empty = lab.files.root / "no-python"
    empty.mkdir()
    for name in ("sh", "bash", "cat", "true", "sha256sum", "mkdir", "mv", "rm", "wc", "id", "ps"):
        found = next((p / name for p in map(Path, ("/usr/bin", "/bin")) if (p / name).exists()), None)
        if found is not None:
            (empty / name).symlink_to(found)
    lab.sshd(config=[f"SetEnv PATH={empty}"])
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    events = agent.events()
    agent.configure(ROAMS)
    assert events.wait("roaming-failed", HOST)["code"] == "no-python"
    assert agent.wait_state(HOST, "connected")["roaming"] is None
    session = Session(lab)
    assert session.end() == 0
    assert "does not roam: The server" in agent.cli("status").stdout


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.5, 0.7, 0.9, 1.2])
def test_an_agent_that_is_killed_while_a_host_begins_to_roam(lab: Lab, agent: Agent, after_s: float) -> None:
    """An agent killed at this stage leaves a working control path. With the next agent, the host roams."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    agent.configure(ROAMS)
    until("it begins", lambda: "roaming-begins" in (agent.state_dir / "agent.log").read_text())
    lab.laptop.run(["sleep", str(after_s)])
    agent.kill9()
    assert lab.laptop.run(["ssh", "-O", "check", HOST]).returncode == 0
    agent.start()
    now = roams(agent)
    assert listener(lab, HOST) == now["roaming"]["pid"]
    session = Session(lab)
    lab.switch("home", "cafe")
    assert session.echoes()
    assert session.end() == 0


@pytest.mark.parametrize("door_roams", [True, False], ids=["both", "only the host behind"])
def test_a_host_behind_a_jump_host_roams(lab: Lab, agent: Agent, door_roams: bool) -> None:
    """The host's sessions continue, whether the jump host's connection survives the move or is replaced."""
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(OTHER)
    door = {**OPTIONS, "HostName": "jump"}
    lab.ssh_config({HOST: {**OPTIONS, "HostName": OTHER, "ProxyJump": "door"}, "door": door})
    agent.start(f"[hosts.door]\nroam = {str(door_roams).lower()}\n{ROAMS}")
    inner = roams(agent)["roaming"]["pid"]
    session = Session(lab)
    for left, joined in (("home", "cafe"), ("cafe", "home")):
        lab.switch(left, joined)
        assert session.echoes()
        assert roams(agent)["roaming"]["pid"] == inner
    agent.wait_state("door", "connected")
    assert session.end() == 0


def test_an_on_use_host_ends_when_it_is_idle(lab: Lab, agent: Agent) -> None:
    """ControlPersist applies to the inner master. The outer master ends with it."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlPersist": "4"}})
    agent.start(f'[hosts.{HOST}]\nconnect = "on-use"\nroam = true\n')
    assert agent.cli("reconnect", HOST).returncode == 0
    host = roams(agent)
    session = Session(lab)
    lab.switch("home", "cafe")
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] == host["roaming"]["pid"]
    assert session.end() == 0
    last = roams(agent)["pid"]
    agent.wait_state(HOST, "idle", 60.0)
    until("both ended", lambda: not alive(last) and not alive(host["roaming"]["pid"]), 20.0)


def test_an_idle_on_use_host_is_connected_for_its_earlier_sessions(lab: Lab, agent: Agent) -> None:
    """The user's own ssh took the control path and ended, so the host is idle. After a move, the sessions continue."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "ControlMaster": "auto"}})
    agent.start(f'[hosts.{HOST}]\nconnect = "on-use"\nroam = true\n')
    assert agent.cli("reconnect", HOST).returncode == 0
    inner = roams(agent)["roaming"]["pid"]
    session = Session(lab)
    lab.laptop.run(["sh", "-c", "rm ~/.ssh/cm-*"])
    assert Session(lab).end() == 0
    agent.wait_state(HOST, "idle")
    lab.switch("home", "cafe")
    assert session.echoes()
    assert roams(agent)["roaming"]["pid"] != inner
    assert session.end() == 0


def test_a_reconnect_and_a_login_at_a_terminal_replace_the_outer_master(lab: Lab, agent: Agent) -> None:
    """The sessions continue over the new outer master. `reconnect` returns when that master carries them."""
    first = roaming(lab, agent)
    session = Session(lab)
    done = agent.cli("reconnect", HOST)
    assert done.returncode == 0, done.stderr
    assert f"{HOST}: connected in" in done.stdout
    before = agent.host(HOST) or {}
    assert before["roaming"]["attached"]
    assert before["roaming"]["pid"] == first["roaming"]["pid"]
    assert before["pid"] != first["pid"]
    assert session.echoes()
    terminal = agent.at_terminal("login", HOST)
    with terminal:
        until("there is another outer master", lambda: (agent.host(HOST) or {})["pid"] != before["pid"], 60.0)
    now = roams(agent)
    assert now["roaming"]["pid"] == before["roaming"]["pid"]
    assert session.echoes()
    lab.switch("home", "cafe")
    assert session.echoes()
    assert session.end() == 0


def test_a_reconnect_at_once_ends_the_sessions(lab: Lab, agent: Agent) -> None:
    """`reconnect --now` ends the inner master. Then the host connects and roams again."""
    before = roaming(lab, agent)
    session = Session(lab)
    done = agent.cli("reconnect", "--now", HOST)
    assert done.returncode == 0, done.stderr
    assert "1 session through the old connection ended" in done.stdout
    assert session.end() != 0
    until("the inner master ended", lambda: not alive(before["roaming"]["pid"]), 20.0)
    assert roams(agent)["roaming"]["pid"] != before["roaming"]["pid"]
