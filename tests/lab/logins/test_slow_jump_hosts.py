"""Hosts behind slow jump hosts or jump hosts with a dead address. A plain ssh can connect to them, too."""

from __future__ import annotations

import time

import pytest

from tests.lab.matrix import OPTIONS, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER

CONFIG = "[hosts.inner]\n"
DEAD_6 = "2001:db8:113::99"


def behind(lab: Lab, **jump: str) -> None:
    """Put `inner` behind the jump host `door`. `jump` contains further options of `door`."""
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(OTHER)
    lab.ssh_config(
        {
            "inner": {**OPTIONS, "HostName": OTHER, "ProxyJump": "door"},
            "door": {"HostName": "jump", **jump},
        }
    )


def connected(agent: Agent, deadline_s: float) -> float:
    """Start the agent, and return how many seconds it took to connect `inner`."""
    began = time.monotonic()
    agent.start(CONFIG)
    agent.wait_state("inner", "connected", deadline_s)
    return time.monotonic() - began


@pytest.mark.slow
def test_a_round_trip_of_a_second_is_survived(lab: Lab, agent: Agent) -> None:
    """The first attempt connects, in about the time that plain ssh takes."""
    behind(lab)
    lab.set_rtt(1000)
    began = time.monotonic()
    plain = lab.laptop.run(["ssh", "-o", "ControlPath=none", "inner", "true"], deadline_s=120)
    plain_s = time.monotonic() - began
    assert plain.returncode == 0, plain.stderr
    took_s = connected(agent, 120)
    print(f"plain {plain_s:.1f} s, agent {took_s:.1f} s")  # noqa: T201  # shown by pytest -s
    assert took_s < 1.5 * plain_s + 3
    assert lab.servers[0].logins() == 2


@pytest.mark.parametrize("lab", [{"ipv6": True}], indirect=True)
def test_a_dead_address_of_the_jump_host_holds_nothing_up(lab: Lab, agent: Agent) -> None:
    """The jump host's dead IPv6 address causes no delay, because the addresses are tried in parallel."""
    behind(lab)
    lab.nodes["internet"].ip(f"route add blackhole {DEAD_6}/128")
    hosts = lab.files.root / "etc" / "hosts"
    hosts.write_text(f"{hosts.read_text()}{DEAD_6} jump\n")
    # The laptop's IPv6 address is tentative at first. Until it is usable, the resolver prefers the IPv4 address.
    until("IPv6 comes first", lambda: lab.laptop.run(["getent", "ahosts", "jump"]).stdout.startswith(DEAD_6))
    assert connected(agent, 15) < 8


def test_a_jump_host_with_a_master_gets_no_second_connection(lab: Lab, agent: Agent) -> None:
    """Because ssh uses the jump host's master, the agent makes no connection that it would only close again."""
    behind(lab, ControlPath="~/.ssh/cm-%C")
    agent.start("[hosts.door]\n" + CONFIG)
    agent.wait_state("door", "connected")
    agent.wait_state("inner", "connected")
    assert lab.servers[0].logins() == 1
    assert "[preauth]" not in lab.servers[0].said()


def test_why_the_jump_host_has_no_connection_is_shown(lab: Lab, agent: Agent) -> None:
    """The problem names the jump host's closed port, also if the master runs in the background."""
    behind(lab)
    lab.servers[0].stop()
    agent.start('[hosts.inner]\nconnect = "on-use"\n')
    agent.cli("reconnect", "inner")
    problem = agent.status()["hosts"][0]["problem"]
    assert problem["title"] == "The jump host of inner refused the connection"
