"""A host that asks for one-time codes and roams by its far relay's port: two codes at the login, then none."""

from __future__ import annotations

import pytest

from tests.lab.at_terminal import AtTerminal
from tests.lab.masters.test_drain import Session
from tests.lab.matrix import alive, until
from tests.lab.pam import KEY_AND_CODE, Pam
from tests.lab.roaming.test_roaming_moves import HOST, OPTIONS, Connection, roams
from trayagent.sandbox import Agent, Lab

PORT = 60001
CONFIG = f"""
[hosts.{HOST}]
roam_port = "{PORT}-{PORT + 2}"
local = ["9000:127.0.0.1:8000"]
"""
MOVES = ("cafe", "office", "home", "cafe", "home", "office", "cafe", "home")
CODES = ("123456", "654321")


@pytest.fixture
def pam(lab: Lab) -> Pam:
    """Return the PAM configuration of the server."""
    found = Pam(lab.files)
    found.ask_codes(CODES)
    return found


def logged_in(lab: Lab, agent: Agent) -> AtTerminal:
    """Run `trayagent login` at home, and answer the first prompt. The caller answers the second one."""
    lab.join("home")
    lab.sshd(config=["LogLevel VERBOSE", *KEY_AND_CODE])
    lab.echo(8000)
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG)
    agent.wait_state(HOST, "needs-sign-in")
    terminal = AtTerminal(lab.laptop, agent.command("login", HOST), agent.env)
    terminal.expect("Password: ", 20.0)
    terminal.enter(f"{CODES[0]}\n")
    terminal.expect("a second login follows", 20.0)
    terminal.expect("Password: ", 20.0)
    return terminal


def relays(lab: Lab) -> int:
    """Return how many far relays run on the server."""
    return sum(b"far_relay\0serve" in _words(pid) for pid in lab.server.pids())


def _words(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123  # the process may have ended
            return file.read()
    except OSError:
        return b""


@pytest.mark.root
def test_a_code_host_roams_through_eight_moves_without_a_prompt(lab: Lab, agent: Agent, pam: Pam) -> None:
    """The login asks for two codes, and says so. Eight moves ask for none, and the server sees no further login.

    The sessions and forwards continue, also for an agent that was killed, and for the next one. `status` shows the host
    as connected without an outer master. `disconnect` ends the far relay through the port.
    """
    with logged_in(lab, agent) as terminal:
        terminal.enter(f"{CODES[1]}\n")
        terminal.expect("its sessions continue on other networks", 20.0)
        assert terminal.ended() == 0
    before = roams(agent)
    inner = before["roaming"]["pid"]
    agent.wait_forwards(HOST, {"local": "open"})
    sshd = lab.servers[-1]
    logins = sshd.said().count("Accepted ")
    session, connection = Session(lab), Connection(lab, 9000)
    events = agent.events()
    here = "home"
    for number, there in enumerate(MOVES):
        lab.switch(here, there, gap_s=0.5 * (number % 2))
        here = there
        assert events.wait("moved", HOST, deadline_s=60.0)["by"] == "port"
        assert session.echoes()
        assert connection.echoes()
        if number == 0:
            until("the outer master ended", lambda: not alive(before["pid"]), 60.0)
        view = agent.wait_state(HOST, "connected")
        assert (view["roaming"]["pid"], view["roaming"]["by"], view["pid"]) == (inner, "port", None)
        if number == 4:
            agent.kill9()
            agent.start()
            events = agent.events()
            agent.wait_state(HOST, "connected")
    assert "connected · roams (port)" in agent.cli("status", HOST).stdout
    agent.wait_forwards(HOST, {"local": "open"})
    assert sshd.said().count("Accepted ") == logins
    assert pam.codes_left() == []
    assert not [e for e in events.seen if e["event"] in {"sign-in-needed", "disconnected", "connect-failed"}]
    assert relays(lab) == 1
    assert agent.cli("disconnect", HOST).returncode == 0
    until("the far relay ended", lambda: relays(lab) == 0, 20.0)
    assert not alive(inner)


@pytest.mark.root
def test_a_blocked_port_needs_one_login_and_no_second_code(lab: Lab, agent: Agent, pam: Pam) -> None:
    """Where the port is blocked, the sessions wait for one login, after one notification. It asks for one code."""
    with logged_in(lab, agent) as terminal:
        terminal.enter(f"{CODES[1]}\n")
        assert terminal.ended() == 0
    roams(agent)
    session, events = Session(lab), agent.events()
    for port in range(PORT, PORT + 3):
        lab.lose_connection("cafe", port)
    lab.switch("home", "cafe")
    events.wait("sign-in-needed", HOST, deadline_s=60.0)
    pam.ask_codes(["777777"])
    with AtTerminal(lab.laptop, agent.command("login", HOST), agent.env) as terminal:
        terminal.answer("Password: ", "777777")
        assert terminal.ended() == 0
        assert "second login" not in terminal.shown
    assert roams(agent)["roaming"]["by"] == "channel"
    assert session.echoes()
    assert [e["event"] for e in events.drain()].count("sign-in-needed") == 1


@pytest.mark.root
def test_a_second_login_that_is_given_up_leaves_a_plain_connection(lab: Lab, agent: Agent, pam: Pam) -> None:
    """Ctrl-C at the second prompt keeps the connection of the first login. Nothing else is left over."""
    with logged_in(lab, agent) as terminal:
        terminal.interrupt()
        assert "does not roam" in terminal.shown
    view = agent.wait_state(HOST, "connected")
    assert view["roaming"] is None
    assert Session(lab).echoes()
    until("the far relay ended", lambda: relays(lab) == 0, 20.0)
    assert pam.codes_left() == [CODES[1]]
