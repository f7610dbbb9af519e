"""Servers that allow few sessions per connection: the agent ends its own session when the user needs one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.forwards.test_remote_cleanup import (
    CONFIG,
    HOST,
    PORT,
    SERVER,
    decisions,
    kept,
    reached,
    visitor,
)
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab, Sshd


def up(lab: Lab, agent: Agent, most: int, config: str = f"[hosts.{HOST}]\n") -> Sshd:
    """Connect the host at home to a server with this MaxSessions."""
    lab.join("home")
    server = lab.sshd(config=[f"MaxSessions {most}"])
    lab.ssh_config({HOST: SERVER})
    agent.start(config)
    agent.wait_state(HOST, "connected")
    return server


@contextmanager
def terminals(lab: Lab, number: int) -> Iterator[None]:
    """Open sessions one after the other, each with a marker to show that it runs."""
    opened: list[subprocess.Popen[str]] = []
    try:
        for _ in range(number):
            one = lab.laptop.popen(
                ["ssh", HOST, "echo there; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            opened.append(one)
            assert one.stdout
            assert one.stdout.readline() == "there\n"
        yield
    finally:
        for one in opened:
            one.kill()
            one.communicate()


def sentinel(agent: Agent) -> bool:
    """Report whether the agent still has its session, according to its log."""
    return "leaves its session" not in (agent.state_dir / "agent.log").read_text()


def test_with_the_default_of_ten_all_ten_terminals_use_the_master(lab: Lab, agent: Agent) -> None:
    """The sentinel ends while terminals still have room, so that none of them bypasses the master."""
    server = up(lab, agent, 10)
    with terminals(lab, 10):
        assert server.logins() == 1
        assert not sentinel(agent)


def test_with_one_session_the_user_gets_it(lab: Lab, agent: Agent) -> None:
    """After the first refused session, the agent uses no sentinel on this host any more, also not on later masters."""
    server = up(lab, agent, 1)
    until("the sentinel is gone", lambda: gave_way(lab, agent))
    until("a session goes through the master", lambda: through(lab, server))
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    logins = server.logins()
    assert lab.laptop.run(["ssh", HOST, "true"]).returncode == 0
    assert server.logins() == logins


def through(lab: Lab, server: Sshd) -> bool:
    """Report whether a session uses the master."""
    logins = server.logins()
    return lab.laptop.run(["ssh", HOST, "true"]).returncode == 0 and server.logins() == logins


def test_with_one_session_our_dead_session_is_ended_at_the_first_move(lab: Lab, agent: Agent) -> None:
    """The clean-up on the server needs the only session, so it runs before the sentinel."""
    lab.echo(8000, node=lab.laptop)
    up(lab, agent, 1, CONFIG)
    agent.wait_forwards(HOST, {"remote": "open"})
    until("the remote session is on record", lambda: kept(agent))
    with visitor(lab):
        for here, there in (("home", "cafe"), ("cafe", "home")):
            events = agent.events()
            lab.switch(here, there)
            events.wait("connected", HOST)
            events.wait("forward-open", HOST)
            assert reached(lab, PORT)
            assert "ended=1" in decisions(agent, "reap")[-1]


def test_without_sessions_forwards_work_and_doctor_names_the_limit(lab: Lab, agent: Agent) -> None:
    """With MaxSessions 0 the connection carries only forwards, and doctor names MaxSessions."""
    lab.echo(8000, node=lab.laptop)
    up(lab, agent, 0, CONFIG)
    agent.wait_forwards(HOST, {"remote": "open"})
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    assert "MaxSessions" in agent.cli("doctor").stdout


def gave_way(lab: Lab, agent: Agent) -> bool:
    """Open a session, and report whether the sentinel is gone afterwards."""
    lab.laptop.run(["ssh", HOST, "true"])
    return not sentinel(agent)


def test_a_host_that_gets_no_more_sessions_begins_to_roam_later(lab: Lab, agent: Agent) -> None:
    """With MaxSessions 1 the sentinel uses the only session, so the host cannot roam yet. `why` names the limit."""
    up(lab, agent, 1, f"[hosts.{HOST}]\nroam = true\n")
    until("the reason is known", lambda: "code=no-session" in "".join(decisions(agent, "stays-plain")))
    assert "MaxSessions" in agent.cli("why", HOST).stdout
    agent.wait_state(HOST, "connected")
