"""Networks that drop only large packets: the agent names the problem, and shows no host as connected."""

from __future__ import annotations

import pytest

from tests.lab.matrix import HARM, HOST, OPTIONS, bring_up, listener
from trayagent.sandbox import Agent, Lab

# The agent may need 30 s before it knows that an attempt is stuck.
STUCK_S = 60.0
SIZE = 1300


@pytest.mark.slow
def test_a_login_that_is_swallowed_is_named(lab: Lab, agent: Agent) -> None:
    """If the banner arrives and the key exchange never ends, the problem names the cause. The test follows its hint."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    lab.swallow_above(SIZE)
    agent.start(f"[hosts.{HOST}]\n")
    view = agent.wait_state(HOST, "waiting", STUCK_S)
    assert view["problem"]["code"] == "large-packets-lost"
    assert view["problem"]["hint"].endswith("sudo ip link set dev wlan0 mtu 1280")
    lab.laptop.ip("link set dev wlan0 mtu 1280")
    agent.wait_state(HOST, "connected", STUCK_S)


@pytest.mark.slow
def test_a_connection_through_which_no_large_packet_comes_is_not_connected(lab: Lab, agent: Agent) -> None:
    """After a change of the path, small answers do not prove that the master works.

    The agent does not end it either.
    """
    up = bring_up(lab, agent)
    lab.swallow_above(SIZE)
    lab.link_down()
    lab.link_up()
    view = agent.wait_state(HOST, "waiting", STUCK_S)
    assert view["problem"]["code"] == "large-packets-lost"
    told = {e["event"] for e in up.about()}
    assert not told & (HARM - {"connect-failed"} | {"master-kept"}), told
    assert listener(lab) == up.pid
    lab.swallow_above(None)
    agent.wait_state(HOST, "connected", STUCK_S)


def test_another_machine_that_falls_silent_is_not_called_a_small_mtu(lab: Lab, agent: Agent) -> None:
    """If the whole line fails during a login, the problem says only that the server did not answer."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    lab.swallow_above(SIZE)
    agent.start(f"[hosts.{HOST}]\n")
    events = agent.events()
    agent.wait_state(HOST, "connecting")
    lab.blackhole(True)
    assert events.wait("connect-failed", HOST, deadline_s=STUCK_S)
    view = agent.wait_state(HOST, "waiting", STUCK_S)
    assert view["problem"]["code"] == "timed-out"
