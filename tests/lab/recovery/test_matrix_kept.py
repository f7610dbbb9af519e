"""Changes of network that a connection survives: the agent keeps the process, and mostly does not even probe it."""

from __future__ import annotations

from tests.lab.matrix import HARM, HOST, OPTIONS, Up, bring_up, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL, OTHER, SERVER


def assert_harmless_trigger(up: Up) -> None:
    """Check that a short loss of the carrier makes the agent probe, and that it keeps the master after the answer."""
    up.lab.flap(1)
    up.assert_kept(proven=True)


def test_a_second_interface_with_a_worse_metric_causes_no_probe(lab: Lab, agent: Agent) -> None:
    """A spare interface on the same or on another LAN does not affect a master."""
    up = bring_up(lab, agent)
    lab.join("home", interface="eth0", address="192.168.10.3", metric=900)
    up.events.wait("network-changed")
    up.assert_kept(proven=False)
    lab.join("cafe", interface="eth0", metric=900)
    up.events.wait("network-changed")
    up.assert_kept(proven=False)


def test_a_vpn_that_does_not_carry_the_peer_causes_no_probe(lab: Lab, agent: Agent) -> None:
    """A tunnel that carries other routes appears, disappears and returns without causing a probe."""
    up = bring_up(lab, agent)
    for _ in range(2):
        lab.vpn_up()
        up.events.wait("network-changed")
        up.assert_kept(proven=False)
        lab.vpn_down()
        up.events.wait("network-changed")
        up.assert_kept(proven=False)


def test_containers_that_come_and_go_cause_no_probe(lab: Lab, agent: Agent) -> None:
    """A container's bridge and veth that come and go are not in any master's path."""
    up = bring_up(lab, agent)
    lab.laptop.ip("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up")
    for number in range(3):
        lab.laptop.ip(
            f"link add veth{number} type veth peer name inner{number}",
            f"link set veth{number} master docker0 up",
            f"link set inner{number} up",
        )
        lab.laptop.ip(f"link set inner{number} down", f"link del veth{number}")
    lab.laptop.ip("link set docker0 down", "link del docker0")
    up.events.wait("network-changed")
    up.assert_kept(proven=False)
    assert_harmless_trigger(up)


def test_wifi_lost_and_back_under_a_tunnel_that_stays_up_keeps_the_master_over_it(
    lab: Lab, agent: Agent
) -> None:
    """The tunnel's device, address and routes stay while its underlay changes. The master answers, so it is kept."""
    lab.join("home")
    lab.sshd(INTERNAL)
    lab.ssh_config({"db": {**OPTIONS, "HostName": INTERNAL}})
    lab.vpn_up()
    up = bring_up(lab, agent, "[hosts.db]\n", "db")
    lab.link_down()
    agent.wait_state("db", "offline")  # the reason does not name the VPN, because it is up
    lab.link_up()
    up.assert_kept(proven=True)


def test_a_name_that_leads_elsewhere_by_now_keeps_the_connection_that_lives(lab: Lab, agent: Agent) -> None:
    """A changed address of the name affects only the next connection."""
    hosts = lab.files.root / "etc" / "hosts"
    written = hosts.read_text()
    # write in place, because this file itself is mounted in the laptop
    hosts.write_text(f"{written}{SERVER} moving\n")
    up = bring_up(lab, agent, HostName="moving", HostKeyAlias=SERVER)
    hosts.write_text(f"{written}{OTHER} moving\n")
    assert lab.laptop.check(["getent", "hosts", "moving"]).split()[0] == OTHER
    assert_harmless_trigger(up)
    lab.join("home", interface="eth0", metric=50)
    up.assert_kept(proven=True)
    assert agent.wait_state(HOST, "connected")["peer"] == f"{SERVER}:22"


BY_HAND = {**OPTIONS, "ControlMaster": "auto"}


def test_the_end_of_the_session_that_was_the_master_stays_an_end(lab: Lab, agent: Agent) -> None:
    """Without ControlPersist the user's `exit` ends the master, and the agent starts no new one."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: BY_HAND})
    agent.start("")
    events = agent.events()
    session = lab.laptop.popen(["ssh", HOST, "cat"], stdin=-1)
    adopted = events.wait("master-adopted", HOST)
    assert agent.wait_state(HOST, "connected")["pid"] == session.pid == listener(lab)
    assert adopted["control_path"].startswith(str(lab.files.ssh))
    assert session.stdin
    session.stdin.close()
    assert session.wait(10.0) == 0
    assert events.wait("disconnected", HOST)["wished"] is True
    told = [e["event"] for e in events.drain(quiet_s=2.0) if e["host"] == HOST]
    assert told[-1] == "disconnected", told
    assert "connecting" not in told
    until("the host is forgotten or idle", lambda: (agent.host(HOST) or {"state": "idle"})["state"] == "idle")


def test_a_master_whose_time_of_control_persist_is_over_stays_ended(lab: Lab, agent: Agent) -> None:
    """The agent neither keeps the user's master alive beyond ControlPersist nor starts it again."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**BY_HAND, "ControlPersist": "2"}})
    agent.start("")
    events = agent.events()
    done = lab.laptop.run(["ssh", HOST, "true"])
    assert done.returncode == 0, done.stderr
    events.wait("master-adopted", HOST)
    # A session of the agent would keep the master alive.
    assert events.wait("disconnected", HOST)["wished"] is True
    told = [e["event"] for e in events.drain(quiet_s=2.0) if e["host"] == HOST]
    assert "connecting" not in told
    assert not HARM & set(told) - {"disconnected"}
