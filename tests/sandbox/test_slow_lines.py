"""Lines with a bandwidth and a queue, lines that drop large packets or lose some, and traffic on them."""

from __future__ import annotations

import time

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.traffic import Traffic

pytestmark = pytest.mark.lab


def web(lab: Lab) -> None:
    """Make the host `web` reachable from home."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web": {"HostName": SERVER}})


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_slow_line_carries_its_bandwidth_and_no_more(lab: Lab, direction: str) -> None:
    """At 4 Mbit/s one megabyte needs two seconds, in both directions."""
    web(lab)
    lab.set_bandwidth(4, queue_bytes=64_000)
    begin = time.monotonic()
    with lab.traffic("up" if direction == "up" else "down", "web") as traffic:
        traffic.wait(1_000_000)
        took_s = time.monotonic() - begin
    assert 2 < took_s < 20, took_s  # a busy machine needs longer to fill the line


def test_a_queue_fills_and_what_does_not_fit_is_dropped(lab: Lab) -> None:
    """An upload fills the queue, so that a ping waits behind it, and further packets are dropped."""
    web(lab)
    with lab.traffic("up", "web") as traffic:
        traffic.wait(2_000_000)  # TCP sends this much at once, before it notices the limit
        lab.set_bandwidth(2, queue_bytes=100_000)
        until("queue full", lambda: lab.carried()["home"]["queued_up"] > 90_000)
        waited = lab.laptop.ping(SERVER)[0]
        assert waited is None or waited > 200  # None: the ping was dropped, because the queue was full
        until("overflow", lambda: lab.carried()["home"]["overflowed"])
    assert lab.carried()["home"]["lost"] == 0


def test_the_other_direction_is_not_held_up(lab: Lab) -> None:
    """While an upload fills its queue, the other direction has its own queue with room."""
    web(lab)
    with lab.traffic("up", "web") as traffic:
        traffic.wait(2_000_000)  # TCP sends this much at once, before it notices the limit
        lab.set_bandwidth(2, queue_bytes=100_000)
        until("queue full", lambda: lab.carried()["home"]["queued_up"] > 90_000)
        assert lab.carried()["home"]["queued_down"] < 50_000  # the queue contains only acknowledgements


def test_large_packets_are_swallowed_and_small_ones_pass(lab: Lab) -> None:
    """Packets above the limit get no answer, and packets of exactly the limit do. Without a limit, all pass again."""
    lab.join("home")
    lab.swallow_above(1400)
    assert None not in lab.laptop.ping(SERVER, size=1400)
    assert lab.laptop.ping(SERVER, size=1401, wait_s=0.5) == [None]
    assert lab.carried()["home"]["swallowed"] == 1
    lab.swallow_above(None)
    assert None not in lab.laptop.ping(SERVER, size=1401)


def test_a_share_is_lost(lab: Lab) -> None:
    """Of many pings, about the configured share is lost."""
    lab.join("home")
    lab.set_loss(0.3)
    lost = sum(answer is None for answer in lab.laptop.ping(SERVER, count=60, wait_s=0.1))
    assert 10 < lost < 50  # in both directions together 51 % are expected
    lab.set_loss(0)
    assert None not in lab.laptop.ping(SERVER, count=10)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_traffic_flows_in_a_session_and_stops_with_it(lab: Lab, direction: str) -> None:
    """Bytes arrive in a session, and the end of its ssh ends the traffic."""
    web(lab)
    with lab.traffic("up" if direction == "up" else "down", "web") as traffic:
        traffic.wait(1_000_000)
        lab.servers[0].stop(sessions=True)
        until("the end", lambda: traffic.ended == "status 255")
    assert not lab.laptop.pids()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_traffic_flows_in_a_forward(lab: Lab, direction: str) -> None:
    """Traffic flows through a local forward. The rate of an upload can be set."""
    web(lab)
    lab.traffic_service(8001)
    master = lab.laptop.popen(["ssh", "-N", "-L", "9001:127.0.0.1:8001", "web"])
    until("forward", lambda: _listens(lab, 9001))
    with lab.traffic("up" if direction == "up" else "down", port=9001) as traffic:
        traffic.wait(1_000_000)
        if direction == "up":
            traffic.pace(50_000)
            until("the pace", lambda: _arrives_in(traffic, 0.5) < 200_000)
        master.kill()
        until("the end", lambda: traffic.ended)


def _arrives_in(traffic: Traffic, seconds: float) -> int:
    before = traffic.arrived
    time.sleep(seconds)  # the rate is in bytes per second
    return traffic.arrived - before


def _listens(lab: Lab, port: int) -> bool:
    return f":{port} " in lab.laptop.run(["ss", "-tlnH"]).stdout
