"""A remote forward counts as open only after the server's confirmation. A slow confirmation delays no other forward."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.lab.matrix import until
from trayagent.core.facts.forward_spec import parse
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.inside_program import Program
from trayagent.ssh.open_forwards import ensure

HOST = "web01"
PORT = 9700
CONFIG = f"""[hosts.{HOST}]
local = ["9000:127.0.0.1:8000"]
remote = ["{PORT}:127.0.0.1:8000"]
"""


def states(agent: Agent) -> dict[str, str]:
    """Return the state of each kind of forward."""
    view = agent.host(HOST)
    assert view is not None
    return {f["kind"]: f["state"] for f in view["forwards"]}


def recovered_into_a_hole(lab: Lab, agent: Agent) -> Program:
    """Move, and blackhole the line after the recovery's login. Return the program that holds the port on the server."""
    lab.set_rtt(400)
    lab.join("home")
    lab.sshd()
    for node in (lab.server, lab.laptop):
        lab.echo(8000, node=node)
    lab.ssh_config({HOST: {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
    taken = lab.echo(PORT)
    agent.start(CONFIG)
    agent.wait_forwards(HOST, {"local": "open", "remote": "failed"})
    before = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST, deadline_s=20.0)
    lab.blackhole(True)
    assert agent.wait_state(HOST, "connected")["pid"] != before
    return taken


@pytest.mark.slow
def test_a_forward_that_the_server_never_confirmed_is_not_shown_as_open(lab: Lab, agent: Agent) -> None:
    """A forward request that got lost in a black hole never counts as open.

    The master confirms the next request at once, without the server, which later refuses it.
    """
    taken = recovered_into_a_hole(lab, agent)
    events = agent.events()
    events.wait("forward-failed", HOST, deadline_s=30.0)
    seen = set[str]()
    until_s = time.monotonic() + 6.0  # long enough for the agent's retries after 1 and 2 s
    while time.monotonic() < until_s:
        seen.add(states(agent)["remote"])
        time.sleep(0.1)
    assert "open" not in seen
    lab.blackhole(False)
    while "the server refused" not in events.wait("forward-failed", HOST, deadline_s=60.0)["reason"]:
        pass
    opened = [e for e in events.seen if e["event"] == "forward-open"]
    assert not [e for e in opened if e["forward"].startswith(str(PORT))]
    taken.end()
    agent.wait_forwards(HOST, {"remote": "open"}, deadline_s=90.0)
    with lab.probe(PORT, node=lab.server) as probe:
        probe.release()
        probe.result()


def test_a_remote_forward_that_waits_holds_no_local_one_up(lab: Lab, agent: Agent) -> None:
    """`status` shows the local forward as open while the server's answer about the remote forward is pending."""
    recovered_into_a_hole(lab, agent)
    until("only the local one is open", lambda: states(agent) == {"local": "open", "remote": "opening"})


@pytest.mark.parametrize(("rtt_s", "state"), [(0.05, "failed"), (None, "open")])
def test_a_yes_that_is_faster_than_the_line_is_no_proof(lab: Lab, rtt_s: float | None, state: str) -> None:
    """A confirmation that arrives faster than the round-trip time does not count.

    If that time is unknown, it counts.
    """
    path = str(lab.files.ssh / "hostile")
    lab.hostile_mux(path, "agrees")
    forward = parse("remote", f"{PORT}:127.0.0.1:8000")
    (result,) = asyncio.run(ensure(path, 1, [forward], [], rtt_s=rtt_s))
    assert result.state == state
