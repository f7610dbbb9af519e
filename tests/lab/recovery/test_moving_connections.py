"""Connections that the kernel moves to another address (MPTCP): the agent keeps a living master."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.matrix import HOST, OPTIONS, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.ssh_config_of_laptop import over_mptcp

pytestmark = pytest.mark.skipif(not Path("/proc/sys/net/mptcp").exists(), reason="this kernel has no MPTCP")


@pytest.mark.parametrize("gap_s", [0.0, 1.0])
def test_a_master_that_moves_along_is_kept(lab: Lab, agent: Agent, gap_s: float) -> None:
    """From home to the café and back, with or without a gap, the master's process stays and its session continues."""
    lab.set_mptcp(True)
    lab.join("home")
    lab.sshd(mptcp=True)
    lab.ssh_config({HOST: OPTIONS})
    own = lab.laptop.popen(["ssh", "-M", "-N", *over_mptcp(), HOST])
    until("a master", lambda: listener(lab) == own.pid)
    agent.start(f"[hosts.{HOST}]\n")
    agent.wait_state(HOST, "connected")
    events = agent.events()
    with lab.traffic("down", HOST) as traffic:
        for old, new in (("home", "cafe"), ("cafe", "home")):
            traffic.wait(1)
            lab.switch(old, new, gap_s=gap_s)
            assert events.wait("master-kept", HOST, deadline_s=20)["pid"] == own.pid
            traffic.wait(1_000_000)
    told = {e["event"] for e in events.drain() if e["host"] == HOST}
    assert not told & {"master-stale", "master-killed", "disconnected"}, told
    assert listener(lab) == own.pid
    assert agent.wait_state(HOST, "connected")["pid"] == own.pid
