"""Long outages, in parallel laboratories: the agent waits and kills no master."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.lab.matrix import HOST, Up, bring_up, laboratory, logged
from trayagent.core.facts.time_constants import PROBE_ON_VIEW_S
from trayagent.sandbox import Agent, Lab
from trayagent.ssh.master import preconnect

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def bounds_the_back_off() -> bool:
    """Report whether this kernel can bound the time between two retransmissions."""
    with socket.socket() as one:
        try:
            one.getsockopt(socket.IPPROTO_TCP, preconnect._TCP_RTO_MAX_MS)
        except OSError:
            return False
    return True


# During most outages no test runs a command, because a user's command makes the agent probe the master.
Outage = Callable[[Up], None]


def link_down_20_s(up: Up) -> None:
    """Take the carrier away for 20 s."""
    up.lab.link_down()
    up.agent.wait_state(HOST, "offline")
    time.sleep(20.0)  # the test is about an outage of this length
    up.lab.link_up()
    up.assert_kept(proven=True)


def blackhole_45_s(up: Up) -> None:
    """Silently drop every packet for 45 s."""
    up.lab.blackhole(True)
    time.sleep(45.0)  # the test is about an outage of this length
    up.lab.blackhole(False)
    up.assert_kept(proven=False)


def viewed_in_a_hole(up: Up) -> None:
    """View the status in a black hole: it waits for an answer for a moment, and then shows that none came."""
    up.lab.blackhole(True)
    time.sleep(PROBE_ON_VIEW_S + 1.0)  # until the last proof of life is old
    shown = up.agent.cli("status", HOST).stdout
    assert re.search(r"(connected|checking) .*\n +probed \d+\.\d s ago: no answer yet", shown), shown
    up.lab.blackhole(False)
    up.assert_kept(proven=True)


def suspended_10_s(up: Up) -> None:
    """Stop every process in the laptop for 10 s without an announcement, and then again while there is no link."""
    up.lab.suspend()
    time.sleep(10.0)  # the test is about a sleep of this length
    up.lab.resume()
    up.assert_kept(proven=False)
    up.lab.suspend()
    up.lab.link_down()
    time.sleep(10.0)  # the length of the second sleep
    up.lab.link_up()
    up.lab.resume()
    up.assert_kept(proven=True)


def used_in_a_hole_of_15_s(up: Up) -> None:
    """Send a line in a session during a black hole, and flicker the link at its end, shortly before TCP retransmits."""
    words = ["ssh", "-o", "ControlMaster=no", HOST, "cat"]
    session = up.lab.laptop.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write("before\n")
    session.stdin.flush()
    assert session.stdout.readline() == "before\n"
    up.lab.blackhole(True)
    session.stdin.write("into the hole\n")
    session.stdin.flush()
    time.sleep(15.0)  # the test is about a hole of this length
    up.lab.blackhole(False)
    up.lab.link_down()
    up.lab.link_up()
    assert session.stdout.readline() == "into the hole\n"
    up.assert_kept(proven=True)
    session.stdin.close()
    assert session.wait(10) == 0


def through(lab: Lab, outage: Outage) -> None:
    """Connect a host in this laboratory, and run the outage."""
    with Agent(lab) as agent, logged(agent):
        outage(bring_up(lab, agent))


OUTAGES: tuple[Outage, ...] = (
    link_down_20_s,
    suspended_10_s,
    blackhole_45_s,
    viewed_in_a_hole,
    used_in_a_hole_of_15_s,
)
if not bounds_the_back_off():
    OUTAGES = OUTAGES[:4]  # before Linux 6.15, the old connection may stay silent too long for a test


@pytest.fixture(scope="module")
def outages() -> Iterator[dict[Outage, Future[None]]]:
    """Start every outage at the same time; each test waits for its own."""
    todo = OUTAGES
    with ExitStack() as stack:
        labs = {outage: stack.enter_context(laboratory()) for outage in todo}
        # entered last, so that it is left first and waits for all outages
        pool = stack.enter_context(ThreadPoolExecutor(len(todo)))
        yield {outage: pool.submit(through, lab, outage) for outage, lab in labs.items()}


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_long_outage_on_the_same_network_keeps_the_master(
    outages: dict[Outage, Future[None]], outage: Outage
) -> None:
    """After a lost link, a sleep or a black hole, the same process carries sessions, and the agent killed no master."""
    outages[outage].result(timeout=120.0)
