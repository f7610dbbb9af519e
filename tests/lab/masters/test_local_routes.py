"""Masters with a local address that no interface lists, from `ip route add local` (AnyIP)."""

from __future__ import annotations

from tests.lab.matrix import HARM, HOST, OPTIONS, alive
from trayagent.sandbox import Agent, Lab

ADDRESS = "192.168.10.77"


def test_a_master_that_uses_such_an_address_is_kept(lab: Lab, agent: Agent) -> None:
    """The agent connects with this BindAddress. The next agent keeps the master, also on a second network."""
    lab.join("home")
    lab.laptop.ip(f"route add local {ADDRESS}/32 dev lo")
    lab.nodes["home"].ip(f"route add {ADDRESS}/32 via 192.168.10.2")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "BindAddress": ADDRESS}})
    agent.start(f"[hosts.{HOST}]\n")
    pid = agent.wait_state(HOST, "connected")["pid"]
    agent.stop()
    agent.start()
    assert agent.wait_state(HOST, "connected")["pid"] == pid
    events = agent.events()
    lab.flap(1)
    assert events.wait("master-kept", HOST)["pid"] == pid
    assert not HARM & {event["event"] for event in events.drain()}
    assert alive(pid)
