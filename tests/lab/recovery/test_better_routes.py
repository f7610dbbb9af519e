"""A better route that appears while an attempt hangs on a dead route."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from tests.lab.matrix import HOST, OPTIONS
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, SERVER, SERVER_6

CONFIG = f"[hosts.{HOST}]\n"
WAYS: Mapping[str, Mapping[str, str]] = {
    "directly": {},
    "through a jump host": {"ProxyJump": "door"},
    "through ssh itself": {"ConnectionAttempts": "2"},  # with this option, the agent lets ssh itself connect
    "through a command": {"ProxyCommand": "nc %h %p"},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_cable_that_is_plugged_in_takes_over_from_a_dead_wifi(
    lab: Lab, agent: Agent, way: Mapping[str, str]
) -> None:
    """If an attempt hangs on the Wi-Fi, the agent starts a second connection over the cable.

    The first established one wins.
    """
    for address in (SERVER, JUMP):
        lab.sshd(address)
    lab.ssh_config({HOST: {**OPTIONS, **way}, "door": {"HostName": JUMP}})
    lab.join("home")
    lab.blackhole(True, "home")
    agent.start(CONFIG)
    agent.wait_state(HOST, "connecting")
    events = agent.events()
    time.sleep(1.2)  # ssh has sent its second SYN by now, and the third is not due soon
    t0 = lab.join("cafe", interface="eth0")
    events.wait("connected", HOST)
    took_s = time.monotonic() - t0
    began = time.monotonic()
    plain = lab.laptop.run(["ssh", "-o", "ControlPath=none", HOST, "true"])
    plain_s = time.monotonic() - began
    assert plain.returncode == 0, plain.stderr
    print(f"{took_s:.2f} s, plain ssh over the cable {plain_s:.2f} s")  # noqa: T201  # shown by pytest -s
    assert took_s < 3 * plain_s + 2
    view = agent.wait_state(HOST, "connected")
    assert str(view["local"]).startswith("10.20.0.2:")
    assert not [event for event in events.seen if event["event"] == "connect-failed"]


@pytest.mark.parametrize("lab", [{"ipv6": True}], indirect=True)
def test_ipv6_that_becomes_usable_a_moment_later_is_used(lab: Lab, agent: Agent) -> None:
    """The laptop's IPv6 address is tentative at first, and the server's IPv4 address is dead.

    No attempt waits for it.
    """
    dead = "203.0.113.99"
    lab.sshd(SERVER_6)
    lab.ssh_config({HOST: {**OPTIONS, "HostName": "both", "HostKeyAlias": SERVER_6}})
    lab.nodes["internet"].ip(f"route add blackhole {dead}/32")
    hosts = lab.files.root / "etc" / "hosts"
    hosts.write_text(f"{hosts.read_text()}{dead} both\n{SERVER_6} both\n")
    agent.start(CONFIG)
    events = agent.events()
    t0 = lab.join("home")
    events.wait("connected", HOST)
    print(f"{time.monotonic() - t0:.2f} s")  # noqa: T201  # shown by pytest -s
    # An attempt that waited for the dead address would fail after ConnectTimeout.
    assert not [event for event in events.seen if event["event"] == "connect-failed"]
