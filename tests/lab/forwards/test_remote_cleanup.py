"""Remote forwards come back immediately: the agent ends its own dead session on the server, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab, Sshd

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
PORT = 22221
VERBOSE = "LogLevel VERBOSE"  # makes sshd log each refused port
CONFIG = f'[hosts.{HOST}]\nremote = ["{PORT}:127.0.0.1:8000"]\n'


def up(lab: Lab, agent: Agent, config: str = CONFIG, *sshd_config: str) -> Sshd:
    """Start a service in the laptop, and connect the host at home until the agent has recorded its remote session."""
    lab.join("home")
    server = lab.sshd(config=[VERBOSE, *sshd_config])
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: SERVER})
    agent.start(config)
    agent.wait_forwards(HOST, {"remote": "open"})
    until("the remote session is on record", lambda: kept(agent))
    return server


def kept(agent: Agent) -> list[dict[str, Any]]:
    """Return the host's sessions in the agent's records."""
    found = agent.records()["far"].get(HOST, {})
    sessions: list[dict[str, Any]] = found.get("sessions", [])
    return sessions


def far_pid(agent: Agent) -> int:
    """Return the server-side pid of the newest recorded session, as soon as there is one."""
    until("a remote session is on record", lambda: bool(kept(agent)))
    return int(kept(agent)[-1]["session"]["pid"])


def reached(lab: Lab, port: int = PORT, deadline_s: float = 10.0) -> bool:
    """Report whether the laptop's service answers on a port of the server."""
    with lab.probe(port, node=lab.server) as probe:
        probe.release()
        return probe.result(deadline_s) > 0


def decisions(agent: Agent, verdict: str) -> list[str]:
    """Return the evidence of each decision with this verdict, as `why` prints it."""
    lines = agent.cli("why", HOST).stdout.splitlines()
    return [line for line in lines if f"  {verdict}  " in f"{line}  "]


@contextlib.contextmanager
def visitor(lab: Lab, port: int = PORT) -> Iterator[None]:
    """Connect to a port of the server twice a second, and hold each connection."""
    connect_forever = (
        "import socket, time\nheld = []\nwhile True:\n try:\n"
        f"  held.append(socket.create_connection(('127.0.0.1', {port}), timeout=1)); held[-1].send(b'hi')\n"
        " except OSError: pass\n time.sleep(0.5)"
    )
    child = lab.server.popen([sys.executable, "-I", "-S", "-c", connect_forever])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def test_a_port_is_back_immediately_while_a_client_connects_to_the_stale_one(lab: Lab, agent: Agent) -> None:
    """Without ClientAlive the agent ends the old session and gets the port back. The server never refuses -R."""
    server = up(lab, agent)
    old = far_pid(agent)
    with visitor(lab):
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        events.wait("forward-open", HOST)
        assert not alive(old)
        assert reached(lab)
    assert not [e for e in events.seen if e["event"] == "forward-failed"], events.seen
    assert "Address already in use" not in server.said()
    assert "ended=1" in decisions(agent, "reap")[-1]
    assert [one["session"]["pid"] for one in kept(agent)] != [old]
    assert agent.wait_state(HOST, "connected")["problem"] is None


def test_it_comes_back_time_and_again_and_after_a_restart_of_the_agent(lab: Lab, agent: Agent) -> None:
    """The forward survives three changes of network. One of them happens while no agent runs, as after a crash."""
    server = up(lab, agent)
    old = []
    for here, there, restart in (("home", "cafe", False), ("cafe", "home", True), ("home", "cafe", False)):
        old.append(far_pid(agent))
        if restart:
            agent.kill9()
            edit(agent, machine={**kept(agent)[-1]["machine"], "boot": "an earlier one"})
        lab.switch(here, there)
        if restart:
            os.kill(kept(agent)[-1]["master_pid"], signal.SIGKILL)
            agent.start()
        until("a new session is on record", lambda: far_pid(agent) not in old)
        agent.wait_forwards(HOST, {"remote": "open"})
        assert reached(lab)
        until("the old ones are gone", lambda: not any(map(alive, old)))
    until("only the living one is on record", lambda: len(kept(agent)) == 1)
    # The agent ends a session of an earlier boot only after the server refused the port, and then immediately.
    assert "Address already in use" in server.said()
    assert "forward-failed" not in log_of(agent)


def edit(agent: Agent, **changes: object) -> None:
    """Change the newest session in the records."""
    record = agent.records()
    record["far"][HOST]["sessions"][-1].update(changes)
    agent.records_file.write_text(json.dumps(record))


def test_a_port_that_the_server_chooses_is_reachable_again(lab: Lab, agent: Agent) -> None:
    """With -R and port 0, `status` shows the new port, that port reaches the laptop, and the old session is gone."""
    up(lab, agent, f'[hosts.{HOST}]\nremote = ["0:127.0.0.1:8000"]\n')
    old = far_pid(agent)
    events = agent.events()
    lab.switch("home", "cafe")
    opened = events.wait("forward-open", HOST)
    assert reached(lab, int(opened["listen"].rpartition(":")[2]))
    until("the old session is gone", lambda: not alive(old))


def far_socket(lab: Lab) -> Path:
    """Return the path of the forward's Unix socket on the server. The path is the same for the tests."""
    return lab.files.far_home / "in.sock"


UNIX_PROBE = """
import socket, sys, time
limit = time.monotonic() + 10
while True:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1)
            sock.connect(sys.argv[1])
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            break
    except (OSError, AssertionError) as error:
        if time.monotonic() > limit:
            sys.exit(repr(error))
        time.sleep(0.05)
"""


def reached_by_socket(lab: Lab) -> None:
    """Check that the laptop's service answers through the Unix socket on the server."""
    lab.server.check([sys.executable, "-I", "-S", "-c", UNIX_PROBE, str(far_socket(lab))])


@pytest.mark.parametrize("unlink", [False, True], ids=["plain", "StreamLocalBindUnlink"])
def test_a_unix_socket_is_back_after_a_change_of_network_and_after_reconnect(
    lab: Lab, agent: Agent, unlink: bool
) -> None:
    """Each connection leaves its socket file behind. The agent removes the file if no process listens on it."""
    config = f'[hosts.{HOST}]\nremote = ["{far_socket(lab)}:127.0.0.1:8000"]\n'
    up(lab, agent, config, *(["StreamLocalBindUnlink yes"] if unlink else []))
    old = far_pid(agent)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    events.wait("forward-open", HOST)
    reached_by_socket(lab)
    until("the old session is gone", lambda: not alive(old))
    assert agent.cli("reconnect", HOST).returncode == 0
    agent.wait_forwards(HOST, {"remote": "open"})
    reached_by_socket(lab)
    assert not [e for e in events.drain() if e["event"] == "forward-failed"], events.seen


def holder(lab: Lab, port: int, *words: str) -> subprocess.Popen[str]:
    """Start a process on the server that listens on a port. `words` are put before its command line."""
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print('there', flush=True); s.accept()"
    command = [*words, sys.executable, "-I", "-S", "-c", listen]
    child = lab.server.popen(command, admin=bool(words), stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == "there\n"
    return child


def test_other_holders_of_the_port_are_left_alone(lab: Lab, agent: Agent) -> None:
    """Other processes and sessions of this and other users keep their ports, and the error names the reason."""
    others = [holder(lab, 22231)]
    ports = [22231]
    if os.getuid() == 0:
        others.append(holder(lab, 22232, "setpriv", "--reuid=65534", "--clear-groups"))
        ports.append(22232)
    lab.join("home", interface="eth0", metric=900)  # this interface's route stays when the agent's route goes
    server = lab.sshd()
    lab.ssh_config({HOST: SERVER})
    plain = lab.laptop.popen(
        ["ssh", "-N", "-b", "192.168.10.2", "-R", "22233:127.0.0.1:8000", "-o", "ControlPath=none", HOST]
    )
    until("the user's own ssh is in", lambda: server.logins() == 1)
    until("its port is there", lambda: "22233" in lab.server.check(["ss", "-Hltn"]))
    theirs = server.sessions()
    wanted = ", ".join(f'"{port}:127.0.0.1:8000"' for port in (PORT, 22233, *ports))
    lab.join("home", interface="wlan0", address="192.168.10.7", metric=100)
    lab.echo(8000, node=lab.laptop)
    agent.start(f"[hosts.{HOST}]\nremote = [{wanted}]\n")
    until("the remote session is on record", lambda: kept(agent))
    old = far_pid(agent)
    events = agent.events()
    lab.join("cafe", interface="wlan0", metric=100)
    events.wait("connected", HOST)
    until("its own port is back", lambda: state_of(agent, PORT) == "open")
    until("the others were refused", lambda: {state_of(agent, p) for p in (22233, *ports)} == {"failed"})
    assert reached(lab)
    assert not alive(old)
    assert all(map(alive, theirs))
    assert plain.poll() is None
    assert [one.poll() for one in others] == [None] * len(others)
    error = next(f["error"] for f in forwards(agent) if f["spec"].startswith("22231:"))
    assert "another process" in error


def forwards(agent: Agent) -> list[dict[str, Any]]:
    """Return the host's forwards."""
    view = agent.host(HOST)
    assert view is not None
    found: list[dict[str, Any]] = view["forwards"]
    return found


def state_of(agent: Agent, port: int) -> str:
    """Return the state of the forward of a port."""
    return next((f["state"] for f in forwards(agent) if f["spec"].startswith(f"{port}:")), "")


def test_a_recycled_pid_is_not_killed(lab: Lab, agent: Agent) -> None:
    """The recorded pid now belongs to another session of the same user. Its start time differs, so it is not killed."""
    up(lab, agent)
    agent.kill9()
    pipe = subprocess.PIPE
    words = ["ssh", "-o", "ControlPath=none", HOST, "echo $PPID; exec cat"]
    plain = lab.laptop.popen(words, stdin=pipe, stdout=pipe)
    assert plain.stdout
    taken = int(plain.stdout.readline())
    session = kept(agent)[-1]["session"]
    edit(agent, session={**session, "pid": taken})
    lab.switch("home", "cafe")
    agent.start()
    until("the agent has checked", lambda: decisions(agent, "reap"))
    assert "ended=0" in decisions(agent, "reap")[0]
    assert alive(taken)
    assert alive(session["pid"])
    assert plain.poll() is None


SHELLS = {
    "bash": ".bashrc",
    "dash": ".profile",
    "zsh": ".zshenv",
    "fish": ".config/fish/config.fish",
    "tcsh": ".tcshrc",
}


def test_any_login_shell_will_do_with_a_banner_and_a_start_up_file_that_prints(
    lab: Lab, agent: Agent
) -> None:
    """With bash, dash, zsh, fish and tcsh in turn, the agent ends a session of one shell through the next shell."""
    missing = [name for name in SHELLS if shutil.which(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing: {missing}")
    shells = {name: rc for name, rc in SHELLS.items() if name not in missing}
    passwd = lab.files.root / "etc" / "passwd-far"
    first, _, others = passwd.read_text().partition("\n")
    banner = lab.files.far / "banner"
    banner.write_text("Authorized use only.\nTRAY 1\n")
    for shell, name in shells.items():
        rc = lab.files.far_home / name
        rc.parent.mkdir(parents=True, exist_ok=True)
        noise = "echo welcome\necho TRAY-BEGIN or not\necho -n no end of line\n"
        rc.write_text(f"{noise}touch {lab.files.far_home}/{shell}-ran\n")
    here, there = "cafe", "home"
    for number, shell in enumerate(shells):
        account = first.rpartition(":")[0] + ":" + str(shutil.which(shell))
        passwd.write_text(f"{account}\n{others}")  # write in place, because this file itself is mounted
        if number == 0:
            up(lab, agent, CONFIG, f"Banner {banner}")
            here, there = there, here
            continue
        until("the remote session is on record", lambda: alive(far_pid(agent)))
        old = far_pid(agent)
        lab.switch(here, there)
        here, there = there, here
        until(f"{shell} ended the old session", lambda: not alive(old))  # noqa: B023  # called within this iteration
        assert reached(lab), shell
        ran = lab.files.far_home / f"{shell}-ran"
        assert ran.exists() or shell == "dash"  # dash reads no start-up file for a command
    assert len(decisions(agent, "reap")) == len(shells) - 1
    assert not decisions(agent, "no-reap")


def test_a_forced_command_is_reported_once_and_the_forward_retried(lab: Lab, agent: Agent) -> None:
    """A forced command leaves the agent no shell, so the agent cannot end the old session.

    The forward shows the reason, and opens once the server releases the port.
    """
    lab.join("home")
    server = lab.sshd(config=[VERBOSE, "ForceCommand /bin/echo for forwards only"])
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: SERVER})
    agent.start(CONFIG)
    agent.wait_forwards(HOST, {"remote": "open"})
    until(
        "there is no sentinel", lambda: "no sentinel" in log_of(agent) or "runs no sentinel" in log_of(agent)
    )
    begun = server.said().count("Starting session")
    stale = server.sessions()
    events = agent.events()
    lab.switch("home", "cafe")
    failed = events.wait("forward-failed", HOST)
    assert "ClientAliveInterval" in failed["reason"], failed
    view = agent.wait_forwards(HOST, {"remote": "failed"})
    assert "ClientAliveInterval" in view[0]["error"]
    until("the agent has retried", lambda: server.said().count("Address already in use") >= 3)
    assert len(decisions(agent, "no-reap")) == 1
    assert "reason=no-shell" in decisions(agent, "no-reap")[0]
    assert server.said().count("Starting session") == begun
    assert any(map(alive, stale))
    for pid in stale:  # as the server's ClientAlive would do later
        if alive(pid):
            os.kill(pid, signal.SIGKILL)  # SIGKILL, because sshd may lose a SIGTERM
    agent.wait_forwards(HOST, {"remote": "open"}, deadline_s=20.0)
    assert reached(lab)


def test_where_sessions_cannot_be_distinguished_the_agent_waits(lab: Lab, agent: Agent) -> None:
    """If the parent of the agent's shell is not sshd but a wrapper, the agent ends no session and logs the reason."""
    wrapper = lab.files.far / "shell"
    wrapper.write_text('#!/bin/sh\n/bin/sh "$@"\nexit $?\n')
    wrapper.chmod(0o755)
    passwd = lab.files.root / "etc" / "passwd-far"
    first, _, others = passwd.read_text().partition("\n")
    passwd.write_text(f"{first.rpartition(':')[0]}:{wrapper}\n{others}")
    lab.join("home")
    server = lab.sshd(config=[VERBOSE])
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: SERVER})
    agent.start(CONFIG)
    agent.wait_forwards(HOST, {"remote": "open"})
    until("the server has answered", lambda: "does not distinguish its sessions" in log_of(agent))
    stale = server.sessions()
    events = agent.events()
    lab.switch("home", "cafe")
    failed = events.wait("forward-failed", HOST)
    assert "ClientAliveInterval" in failed["reason"], failed
    until("the agent has retried", lambda: server.said().count("Address already in use") >= 2)
    assert [line.rpartition(" ")[2] for line in decisions(agent, "no-reap")] == ["reason=no-mark"]
    assert any(map(alive, stale))


def log_of(agent: Agent) -> str:
    """Return the agent's log."""
    return (agent.state_dir / "agent.log").read_text()


def test_the_remote_session_of_a_users_own_master_is_on_record(lab: Lab, agent: Agent) -> None:
    """A user's own master has no sentinel.

    The agent still records its session, so -R comes back after a change of network.
    """
    lab.join("home")
    lab.sshd()
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: {**SERVER, "ControlMaster": "auto", "ControlPersist": "10m"}})
    agent.start(CONFIG.replace("\n", '\nconnect = "on-use"\n', 1))
    assert lab.laptop.run(["ssh", HOST, "true"]).returncode == 0
    agent.wait_forwards(HOST, {"remote": "open"})
    until("the remote session is on record", lambda: kept(agent))
    assert kept(agent)[0]["ours"] is False
    session = far_pid(agent)
    lab.switch("home", "cafe")
    until("the old session is gone", lambda: not alive(session))
    agent.wait_forwards(HOST, {"remote": "open"})
    assert reached(lab)
