"""Changes of network that kill a connection: the agent ends the old master and connects again on the same path."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.matrix import HOST, alive, bring_up, listener, through_socks, typed
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

CONFIG = f'[hosts.{HOST}]\nlocal = ["9000:127.0.0.1:8000"]\ndynamic = ["1080"]\n'
BACK_S = 10.0  # recovery takes about 1 s, but this machine also runs 21 logins
TYPED_S = 20.0


def vpn_takes_the_route(lab: Lab) -> float:
    """Bring up a VPN that takes over the route to the host, and drops packets from other addresses than its own."""
    return lab.vpn_up(routes=[f"{SERVER}/32"])[1]


def cable_elsewhere(lab: Lab) -> float:
    """Plug in a cable to another LAN, preferred to the Wi-Fi. Old packets leave through an unrelated gateway."""
    return lab.join("cafe", interface="eth0")


def cable_to_a_strict_gateway(lab: Lab) -> float:
    """Plug in a cable to another LAN whose gateway silently drops packets of unknown connections."""
    lab.set_gateway("cafe", nat=True, silent=True)
    return lab.join("cafe", interface="eth0")


def same_address_elsewhere(lab: Lab) -> float:
    """Go to a network with the same private address. Its NAT gateway passes the server's RST to the laptop."""
    return lab.switch("home", "office")


def same_address_silent(lab: Lab) -> float:
    """Go to a network with the same private address. Its router silently drops packets of unknown connections."""
    lab.set_gateway("office", nat=True, silent=True)
    return lab.switch("home", "office")


@pytest.mark.parametrize(
    ("change", "control_master"),
    [
        (vpn_takes_the_route, "auto"),
        (cable_elsewhere, "no"),
        (cable_to_a_strict_gateway, "auto"),
        (same_address_elsewhere, "no"),
        (same_address_silent, "auto"),
    ],
)
def test_what_kills_a_connection_brings_a_new_one_and_no_ssh_typed_meanwhile_fails(
    lab: Lab, agent: Agent, change: Callable[[Lab], float], control_master: str
) -> None:
    """The old master dies, -L and -D work on the same path, and `ssh HOST true` succeeds at any time.

    The test starts that ssh every 50 ms from 0 to 1,000 ms after the change, with and without `ControlMaster auto`.
    """
    # A user would type only one ssh. All of them together are more logins than the default MaxStartups allows.
    lab.sshd(config=["MaxStartups 100"])
    lab.join("home")
    lab.echo(8000)
    up = bring_up(lab, agent, CONFIG, ControlMaster=control_master)
    agent.wait_forwards(HOST, {"local": "open", "dynamic": "open"})
    with lab.probe(9000) as probe:
        t0 = change(lab)
        probe.release()
        children = typed(lab, t0)
        local_at = probe.result(deadline_s=BACK_S)
    through_socks(lab, 1080, 8000, deadline_s=BACK_S)
    took = f"{(local_at - t0) * 1e3:.0f} ms"
    print(f"{change.__name__}, ControlMaster {control_master}: {took}")  # noqa: T201  # shown by pytest -s

    failed = {}
    for step, child in enumerate(children):
        _, said = child.communicate(timeout=TYPED_S)
        if child.returncode:
            failed[step * 50] = said.strip()
    assert not failed, f"typed so many ms after the change: {failed}"
    after = agent.wait_state(HOST, "connected")
    assert after["pid"] != up.pid
    assert not alive(up.pid)
    assert after["control_path"] == up.before["control_path"]
    assert listener(lab) == after["pid"]
