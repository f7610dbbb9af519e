"""Events on the laptop. Each scenario causes its event and returns t0, the start of the measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from trayagent.sandbox import Lab

HOST = "web01"
SERVER = "203.0.113.10"
BEHIND_VPN = "10.99.0.10"


@dataclass(frozen=True)
class Scenario:
    """One event.

    `prepare` sets up the laptop, `happen` causes the event, and `bound` is the largest allowed ratio to a cold ssh.
    """

    key: str
    title: str
    prepare: Callable[[Lab], None]
    happen: Callable[[Lab], float]
    address: str = SERVER
    config: str = ""
    bound: float = 1.05
    remote: bool = False  # -R: a server without ClientAlive holds the port for the lost connection
    kept: bool = False  # the old connection survives, so the cold ssh is measured without the event


def _home(lab: Lab) -> None:
    lab.join("home")


def _switch(lab: Lab) -> float:
    return lab.switch("home", "cafe")


def _switch_with_gap(lab: Lab) -> float:
    return lab.switch("home", "cafe", gap_s=2.0)


def _down_and_up(lab: Lab) -> float:
    lab.link_down()
    time.sleep(5)
    return lab.link_up()


def _hole(lab: Lab) -> float:
    lab.blackhole(True)
    time.sleep(45)
    lab.blackhole(False)
    return time.monotonic()


def _home_with_vpn(lab: Lab) -> None:
    lab.join("home")
    lab.vpn_up()


def _vpn_again(lab: Lab) -> float:
    lab.vpn_down()
    time.sleep(1)
    return lab.vpn_up()[1]


SCENARIOS = {
    s.key: s
    for s in (
        Scenario("S1", "another network, gap 0", _home, _switch),
        Scenario("S2", "another network, gap 2 s", _home, _switch_with_gap),
        Scenario("S3", "same network and address, down 5 s", _home, _down_and_up, bound=0.35, kept=True),
        Scenario("S4", "blackhole 45 s, no event", _home, _hole, bound=0.35, kept=True),
        Scenario(
            "S5",
            "VPN back with a new address",
            _home_with_vpn,
            _vpn_again,
            address=BEHIND_VPN,
            config='vpn = "corp"\n[vpns.corp]\ninterface = "tun*"\n',
        ),
        Scenario("S6", "another network, with -R", _home, _switch, remote=True, bound=1.25),
    )
}
