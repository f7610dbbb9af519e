from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER

pytestmark = pytest.mark.lab


def best(answers: list[float | None]) -> float:
    """Return the shortest round trip, which a busy machine delayed least."""
    heard = [answer for answer in answers if answer is not None]
    assert len(heard) == len(answers), f"silence among {answers}"
    return min(heard)


def best_below(lab: Lab, limit_ms: float, count: int) -> float:
    """Return the shortest round trip, after more tries if a busy machine delayed each of the first ones."""
    shortest = best(lab.laptop.ping(SERVER, count=count))
    for _ in range(9):
        if shortest < limit_ms:
            break
        shortest = min(shortest, best(lab.laptop.ping(SERVER, count=count)))
    return shortest


def test_a_round_trip_takes_the_configured_time(lab: Lab) -> None:
    """Each round trip to the server takes the configured time, not less, and at best 3 ms more."""
    lab.join("home")
    for rtt_ms in (20.0, 50.0, 5.0):
        lab.set_rtt(rtt_ms)
        assert rtt_ms <= best_below(lab, rtt_ms + 3, count=6) < rtt_ms + 3


def test_without_delay_the_line_costs_less_than_a_millisecond(lab: Lab) -> None:
    """With a delay of 0 ms, a round trip takes less than 1 ms."""
    lab.join("home")
    lab.set_rtt(0)
    assert best_below(lab, 1, count=10) < 1


def test_a_black_hole_is_silent_and_ends(lab: Lab) -> None:
    """A black hole gives neither an answer nor an error; once the line carries again, answers come."""
    lab.join("home")
    lab.blackhole(True)
    assert lab.laptop.ping(SERVER, wait_s=0.2) == [None]
    assert "home" in lab.carried()
    assert lab.carried()["home"]["dropped"] >= 1
    lab.blackhole(False)
    best(lab.laptop.ping(SERVER, count=2))


def test_one_network_can_be_a_black_hole_alone(lab: Lab) -> None:
    """The café's line can drop packets while home's line carries them."""
    lab.blackhole(True, "cafe")
    lab.join("home")
    best(lab.laptop.ping(SERVER))
    lab.switch("home", "cafe")
    assert lab.laptop.ping(SERVER, wait_s=0.2) == [None]


def test_bulk_data_arrive_whole_and_nothing_is_lost(lab: Lab, tmp_path: Path) -> None:
    """Megabytes arrive unchanged through ssh, and the line counts no lost frame."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web": {"HostName": SERVER}})
    data = bytes(range(256)) * 16384
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open("rb") as source:
        child = lab.laptop.popen(["ssh", "web", "sha256sum"], stdin=source, stdout=-1)
        assert child.communicate(timeout=30)[0].split()[0] == hashlib.sha256(data).hexdigest()
    assert lab.carried()["home"]["lost"] == 0


def test_an_idle_line_sleeps(lab: Lab) -> None:
    """While nothing travels beyond the gateway, the process is not scheduled at all."""
    lab.join("home")
    lab.laptop.ping(SERVER)
    lab.carried()

    def switches() -> int:
        text = Path(f"/proc/{lab.delay_line_pid}/status").read_text()
        return int(text.split("voluntary_ctxt_switches:")[1].split()[0])

    before = switches()
    # One second of traffic that stays on the LAN, because no machine has this address.
    assert lab.laptop.ping("192.168.10.77", wait_s=1.0) == [None]
    assert switches() - before <= 2
