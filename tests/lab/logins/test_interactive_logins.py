"""Hosts whose login needs the user: at a terminal or in a window, and never without the user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.at_terminal import AtTerminal
from tests.lab.matrix import alive, until
from tests.lab.pam import INTERACTIVE, KEY_AND_CODE, PASSWORD, Pam
from trayagent.sandbox import Agent, Lab, Sshd
from trayagent.sandbox.agent import END_DEADLINE_S
from trayagent.sandbox.lab_tools import tool

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
CONFIG = '[hosts.web01]\nlocal = ["8080:localhost:8000"]\n'
SECRET = "correct horse"  # noqa: S105  # the account exists only for this test
QUIET_S = 1.5  # long enough for an unrequested login to start


@pytest.fixture
def pam(lab: Lab) -> Pam:
    """Return the PAM configuration of the server."""
    return Pam(lab.files)


def server(lab: Lab, *config: str) -> Sshd:
    """Go home, and start a server that logs each step of a login."""
    lab.join("home")
    lab.ssh_config({"web01": SERVER})
    return lab.sshd(config=["LogLevel VERBOSE", *config])


def login(lab: Lab, agent: Agent, host: str = "web01", **env: str) -> AtTerminal:
    """Run `trayagent login` at a terminal, as a user would."""
    return AtTerminal(lab.laptop, agent.command("login", host), {**agent.env, **env})


def asked(sshd: Sshd) -> int:
    """Return how many logins the server has seen. A banner check does not count."""
    return len(re.findall(r"^(?:Accepted|Failed|Postponed|Partial) ", sshd.said(), re.MULTILINE))


def refused_in_silence(sshd: Sshd) -> int:
    """Return how many logins for the account ended without an authentication attempt."""
    return len(re.findall(r"^Connection (?:closed|reset) by authenticating user ", sshd.said(), re.MULTILINE))


def stays(what: str, condition: Callable[[], object], for_s: float = QUIET_S) -> None:
    """Check that the condition stays true for `for_s`, because there is no event to wait for."""
    limit = time.monotonic() + for_s
    while time.monotonic() < limit:
        assert condition(), f"no longer: {what}"
        time.sleep(0.1)


def is_ssh(pid: int) -> bool:
    """Report whether a living process is an ssh."""
    try:
        return alive(pid) and Path(f"/proc/{pid}/comm").read_text().strip() == "ssh"
    except OSError:  # the process ended meanwhile
        return False


def command_at_work(lab: Lab, name: str) -> int:
    """Return the pid of a trayagent command that runs in the laptop."""
    for pid in lab.laptop.pids():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if words[0] == sys.executable and words[1:5] == ["-P", "-m", "trayagent", name]:
            return pid
    raise AssertionError(f"no trayagent {name} runs")


def leftovers(lab: Lab, agent: Agent) -> list[str]:
    """Return what a failed login left behind: processes, sockets, logs, records."""
    ssh = [pid for pid in lab.laptop.pids() if is_ssh(pid)]
    files = [*lab.files.ssh.glob("cm-*"), *agent.runtime_dir.glob("attempt-*")]
    notes = agent.records()["attempts"]
    return [*map(str, ssh), *map(str, files), *notes]


@pytest.mark.root
def test_a_password_host_is_logged_in_to_and_never_tried_without_its_user(
    lab: Lab, agent: Agent, pam: Pam
) -> None:
    """Only `login` connects a host with a password. After a change of network there is one event and no login.

    The connection outlives the terminal and the agent. The next agent knows that the login needs the user.
    """
    pam.ask_password(SECRET)
    sshd = server(lab, *PASSWORD)
    agent.start(CONFIG)
    view = agent.wait_state("web01", "needs-sign-in")
    assert "trayagent login web01" in view["problem"]["hint"]
    with login(lab, agent) as terminal:
        terminal.answer("password: ", "wrong")
        terminal.answer("please try again", SECRET)
        terminal.expect("web01: connected")
        assert terminal.ended() == 0
        assert SECRET not in terminal.shown
    view = agent.wait_state("web01", "connected")
    agent.wait_forwards("web01", {"local": "open"})
    pid = view["pid"]
    assert os.getsid(pid) == pid  # still connected, although the terminal is closed
    agent.stop()
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    before, given_up = asked(sshd), refused_in_silence(sshd)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("sign-in-needed", "web01")
    assert not alive(pid)
    lab.switch("cafe", "home")
    stays("no login", lambda: (asked(sshd), refused_in_silence(sshd)) == (before, given_up))
    view = agent.wait_state("web01", "needs-sign-in")
    assert "trayagent login web01" in view["problem"]["hint"]
    assert [e["event"] for e in events.drain()].count("sign-in-needed") == 1
    with login(lab, agent) as terminal:
        terminal.answer("password: ", SECRET)
        assert terminal.ended() == 0
    agent.wait_state("web01", "connected")
    agent.wait_forwards("web01", {"local": "open"})
    assert SECRET not in "".join(path.read_text() for path in agent.state_dir.glob("agent.*"))


@pytest.mark.root
def test_a_one_time_code_beside_a_key_is_asked_for_at_each_login(lab: Lab, agent: Agent, pam: Pam) -> None:
    """After a change of network, the agent starts no login, although the key needs no user: a code is also needed."""
    pam.ask_codes(["123456", "654321"])
    sshd = server(lab, *KEY_AND_CODE)
    agent.start(CONFIG)
    agent.wait_state("web01", "needs-sign-in")
    with login(lab, agent) as terminal:
        terminal.answer("assword: ", "123456")
        terminal.expect("web01: connected")
        assert terminal.ended() == 0
    agent.wait_state("web01", "connected")
    before = asked(sshd)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("sign-in-needed", "web01")
    stays("no login", lambda: asked(sshd) == before)
    assert pam.codes_left() == ["654321"]
    with login(lab, agent) as terminal:
        terminal.answer("assword: ", "123456")
        terminal.answer("assword: ", "654321")
        assert terminal.ended() == 0
    agent.wait_state("web01", "connected")
    assert pam.codes_left() == []


@pytest.mark.root
def test_a_login_that_fails_leaves_nothing_but_sshs_output(lab: Lab, agent: Agent, pam: Pam) -> None:
    """A login that fails, is interrupted, or loses its terminal or command leaves no process, file or record."""
    pam.ask_password(SECRET)
    sshd = server(lab, *INTERACTIVE)
    agent.start(CONFIG)
    agent.wait_state("web01", "needs-sign-in")
    with login(lab, agent) as terminal:
        for _ in range(3):
            terminal.answer("assword: ", "wrong")
        assert terminal.ended() == 1
        assert "Permission denied (" in terminal.shown
        assert "trayagent login web01" in terminal.shown
    with login(lab, agent) as terminal:
        terminal.expect("assword: ")
        assert terminal.interrupt() == 128 + signal.SIGINT
    agent.wait_state("web01", "needs-sign-in")
    until("nothing is left", lambda: not leftovers(lab, agent))
    with login(lab, agent) as terminal:
        terminal.expect("assword: ")
        assert agent.listed_host("web01")["state"] == "connecting"
        terminal.close()
        agent.wait_state("web01", "needs-sign-in")
    until("nothing is left", lambda: not leftovers(lab, agent))
    with login(lab, agent) as terminal:
        terminal.expect("assword: ")
        # The ssh that the killed command started is still at its prompt.
        os.kill(command_at_work(lab, "login"), signal.SIGKILL)
        agent.wait_state("web01", "needs-sign-in")
        until("nothing is left", lambda: not leftovers(lab, agent))
    before = refused_in_silence(sshd)
    done = agent.cli("reconnect", "web01")
    assert done.returncode == 1
    assert "trayagent login web01" in done.stderr
    until("it was tried once", lambda: refused_in_silence(sshd) == before + 1)


@pytest.mark.root
def test_a_password_is_asked_for_by_a_window_where_there_is_no_terminal(
    lab: Lab, agent: Agent, pam: Pam
) -> None:
    """$SSH_ASKPASS prompts in a window, as in ssh(1), also for an unlisted host and if no agent runs yet."""
    pam.ask_password(SECRET)
    server(lab, *PASSWORD)
    window = lab.files.root / "window"
    window.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {lab.files.root}/asked\necho "{SECRET}"\n')
    window.chmod(0o700)
    agent.configure("")
    env = {**agent.env, "SSH_ASKPASS": str(window), "SSH_ASKPASS_REQUIRE": "force"}
    try:
        done = lab.laptop.run(agent.command("login", "web01"), env=env)
        assert done.returncode == 0, done
        assert "web01: connected" in done.stdout
        assert "password:" in (lab.files.root / "asked").read_text()
        view = agent.wait_state("web01", "connected")
        assert not view["listed"]
        assert agent.cli("disconnect", "web01").returncode == 0
    finally:
        assert agent.cli("stop").returncode == 0


def test_an_unknown_host_key_is_accepted_once_and_later_logins_need_no_user(lab: Lab, agent: Agent) -> None:
    """`login` lets the user accept an unknown host key once.

    Later logins need no user, so the agent recovers the host.
    """
    server(lab)
    lab.ssh_config({"web01": {**SERVER, "StrictHostKeyChecking": "ask"}})
    lab.files.known_hosts.write_text("")
    agent.start(CONFIG)
    view = agent.wait_state("web01", "needs-sign-in")
    assert (view["problem"]["code"], "login web01" in view["problem"]["hint"]) == ("host-key-unknown", True)
    with login(lab, agent) as terminal:
        terminal.answer("(yes/no/[fingerprint])? ", "yes")
        assert terminal.ended() == 0
        assert "Permanently added" in terminal.shown
        assert "debug" not in terminal.shown  # the lines that prove the host key are for the agent
    pid = agent.wait_state("web01", "connected")["pid"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "web01")
    assert agent.wait_state("web01", "connected")["pid"] != pid


@pytest.fixture
def auth_sock(lab: Lab) -> Iterator[str]:
    """Run an ssh-agent in the laptop."""
    path = lab.files.root / "ssh-agent"
    child = lab.laptop.popen([tool("ssh-agent"), "-D", "-a", str(path)])
    until("the ssh-agent listens", path.exists)
    yield str(path)
    child.terminate()
    child.wait(END_DEADLINE_S)


def test_a_typed_passphrase_waits_for_the_ssh_agent(lab: Lab, agent: Agent, auth_sock: str) -> None:
    """After a login with a locked key and a change of network, the agent waits until an ssh-agent has the key."""
    sshd = server(lab)
    lab.laptop.check(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(lab.files.key)])
    agent.env["SSH_AUTH_SOCK"] = ""
    agent.start(CONFIG)
    view = agent.wait_state("web01", "needs-sign-in")
    assert view["problem"]["code"] == "passphrase-needed"
    with login(lab, agent) as terminal:
        terminal.answer("passphrase for key", "secret")
        assert terminal.ended() == 0
    agent.wait_state("web01", "connected")
    before = refused_in_silence(sshd)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("sign-in-needed", "web01")
    stays("no login", lambda: refused_in_silence(sshd) == before)
    key = lab.files.root / "unlocked"
    shutil.copy(lab.files.key, key)
    key.chmod(0o600)
    lab.laptop.check(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(key)])
    added = lab.laptop.run(["ssh-add", "-q", str(key)], env={"SSH_AUTH_SOCK": auth_sock})
    assert added.returncode == 0, added
    agent.env["SSH_AUTH_SOCK"] = auth_sock
    agent.wait_state("web01", "connected")
    assert sshd.logins() == 2


def test_without_a_route_to_the_host_the_user_is_not_asked(lab: Lab, agent: Agent) -> None:
    """Without a network or with an invalid name, `login` exits with 1 immediately and prints the error.

    A name that ssh cannot resolve leaves nothing in the history.
    """
    server(lab)
    agent.start(CONFIG)
    agent.wait_state("web01", "connected")
    lab.leave("home")
    agent.wait_state("web01", "offline")
    with login(lab, agent) as terminal:
        assert terminal.ended() == 1
        assert "There is no route to web01" in terminal.shown
    lab.join("home")
    for name in ("-oProxyCommand=id", "two words", "a\nb"):
        with AtTerminal(lab.laptop, agent.command("login", "--", name), agent.env) as terminal:
            assert terminal.ended() == 1
            assert "trayagent: " in terminal.shown
    with login(lab, agent, "nosuch") as terminal:
        assert terminal.ended() == 1
        assert "nosuch" in terminal.shown
    assert "No host 'nosuch' is known" in agent.cli("history", "nosuch").stderr


def test_without_a_terminal_or_window_no_empty_password_is_offered(lab: Lab, agent: Agent) -> None:
    """Without a terminal or window, as from cron, `login` fails with a hint and makes no connection."""
    sshd = server(lab, "PasswordAuthentication yes")
    lab.ssh_config({"web01": {**SERVER, "PubkeyAuthentication": "no"}})
    agent.start("")
    done = lab.laptop.run(agent.command("login", "web01"), env={**agent.env, "DISPLAY": ""})
    assert done.returncode == 1
    assert "no terminal for the questions of ssh" in done.stderr
    assert "SSH_ASKPASS" in done.stderr
    assert "Connection from" not in sshd.said()


@pytest.mark.root
def test_a_jump_host_that_asks_is_part_of_the_login(lab: Lab, agent: Agent, pam: Pam) -> None:
    """A jump host's password is part of the login; Ctrl-C or a closed terminal ends neither connection."""
    pam.ask_password(SECRET)
    server(lab)
    jump = lab.sshd("203.0.113.11", config=["LogLevel VERBOSE", *PASSWORD])
    lab.ssh_config({"web01": {**SERVER, "ProxyJump": "jump"}, "jump": {"HostName": "203.0.113.11"}})
    agent.start(CONFIG)
    agent.wait_state("web01", "needs-sign-in")
    words = f"{' '.join(agent.command('login', 'web01'))}; echo and now; read -r line"
    with AtTerminal(lab.laptop, ["bash", "-c", words], agent.env) as terminal:
        terminal.answer("password: ", SECRET)
        terminal.expect("web01: connected")
        terminal.expect("and now")
        terminal.enter("\x03")
        terminal.ended()
    pid = agent.wait_state("web01", "connected")["pid"]
    done = lab.laptop.run(["ssh", "web01", "echo through"])
    assert done.stdout == "through\n"
    assert agent.wait_state("web01", "connected")["pid"] == pid
    before = asked(jump)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("master-killed", "web01")
    until("the old one is gone", lambda: not alive(pid))
    stays("no login", lambda: asked(jump) == before)
