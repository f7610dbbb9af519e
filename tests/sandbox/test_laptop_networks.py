from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER, SERVER_6

pytestmark = pytest.mark.lab


def ip_json(lab: Lab, *words: str) -> list[dict[str, Any]]:
    """Return the JSON that `ip` prints in the laptop."""
    found: list[dict[str, Any]] = json.loads(lab.laptop.check(["ip", "-json", *words]) or "[]")
    return found


def addresses(lab: Lab) -> list[str]:
    """Return the IPv4 addresses of the Wi-Fi."""
    shown = ip_json(lab, "-4", "addr", "show", "dev", "wlan0")
    return [a["local"] for interface in shown for a in interface.get("addr_info", [])]


def default_route(lab: Lab) -> dict[str, Any]:
    return ip_json(lab, "route", "get", SERVER)[0]


def wait_until(
    condition: Callable[[], bool], deadline_s: float = 10.0, doing: Callable[[], object] = lambda: None
) -> None:
    """Poll the condition, and call `doing` each time."""
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit, "not in time"
        doing()
        threading.Event().wait(0.01)


def test_joining_gives_address_and_route_at_once(lab: Lab) -> None:
    """When join returns, address and default route are in place, and packets flow. t0 is only a moment ago."""
    before = time.monotonic()
    t0 = lab.join("home")
    assert before < t0 <= time.monotonic()
    assert addresses(lab) == ["192.168.10.2"]
    assert (default_route(lab)["dev"], default_route(lab)["gateway"]) == ("wlan0", "192.168.10.1")
    assert lab.laptop.ping(SERVER) != [None]


def test_switching_replaces_the_address(lab: Lab) -> None:
    """After a switch only the new network's address and gateway are left."""
    lab.join("home")
    lab.switch("home", "cafe")
    assert addresses(lab) == ["10.20.0.2"]
    assert default_route(lab)["gateway"] == "10.20.0.1"
    assert lab.laptop.ping(SERVER) != [None]


def test_leaving_takes_everything_away(lab: Lab) -> None:
    """Without a network there is no address and no route."""
    lab.join("home")
    lab.leave("home")
    assert addresses(lab) == []
    assert ip_json(lab, "route") == []


def test_a_gap_lasts_as_long_as_requested(lab: Lab) -> None:
    """A switch with a gap takes at least that long."""
    lab.join("home")
    before = time.monotonic()
    assert lab.switch("home", "cafe", gap_s=0.3) - before >= 0.3


def test_an_unknown_network_is_named(lab: Lab) -> None:
    """A wrong name is an error that lists the right ones."""
    with pytest.raises(TrayagentError, match="home, cafe, office"):
        lab.join("hotel")


def test_losing_the_carrier_keeps_the_address(lab: Lab) -> None:
    """While the link is down, the address stays and packets do not pass. They pass again when the link is up."""
    lab.join("home")
    lab.link_down()
    wait_until(lambda: "NO-CARRIER" in ip_json(lab, "link", "show", "wlan0")[0]["flags"])
    assert addresses(lab) == ["192.168.10.2"]
    assert lab.laptop.ping(SERVER, wait_s=0.1) == [None]
    lab.link_up()
    wait_until(lambda: lab.laptop.ping(SERVER, wait_s=0.3) != [None])


def test_a_carrier_change_is_seen_within_milliseconds(lab: Lab) -> None:
    """The laptop's kernel reports a lost carrier immediately, not at the next round of its link watch."""
    lab.join("home")
    took = []  # use the fastest, because a busy machine delays some
    for _ in range(3):
        t0 = lab.link_down()
        wait_until(lambda: "NO-CARRIER" in ip_json(lab, "link", "show", "wlan0")[0]["flags"])
        took.append(time.monotonic() - t0)
        lab.link_up()
        wait_until(lambda: "NO-CARRIER" not in ip_json(lab, "link", "show", "wlan0")[0]["flags"])
    assert min(took) < 0.3, took


def test_each_flap_is_detected(lab: Lab, tmp_path: Path) -> None:
    """Three flaps cause three losses of the carrier in the kernel's messages."""
    lab.join("home")
    heard = tmp_path / "heard"
    with heard.open("w") as out:
        lab.laptop.popen(["stdbuf", "-oL", "ip", "monitor", "link"], stdout=out)
    wait_until(
        lambda: "eth0" in heard.read_text(),
        doing=lambda: lab.laptop.ip("link set eth0 down", "link set eth0 up"),
    )
    lab.flap(3)
    lab.laptop.ip("link set lo down")  # a marker after the last event
    wait_until(lambda: "lo:" in heard.read_text())
    assert sum("wlan0" in line and "NO-CARRIER" in line for line in heard.read_text().splitlines()) == 3


def test_a_second_interface_takes_over_by_its_metric(lab: Lab) -> None:
    """On the same LAN the cable's route wins over the Wi-Fi's, unless its metric is worse."""
    lab.join("home")
    lab.join("home", interface="eth0", address="192.168.10.3")
    assert default_route(lab)["dev"] == "eth0"
    assert lab.laptop.ping(SERVER) != [None]
    lab.join("home", interface="eth0", address="192.168.10.3", metric=900)
    assert default_route(lab)["dev"] == "wlan0"


def test_the_office_has_homes_addresses_behind_another_gateway(lab: Lab) -> None:
    """The office has home's address and gateway address, but another link-layer address."""
    macs = []
    for network in ("home", "office"):
        lab.join(network)
        assert addresses(lab) == ["192.168.10.2"]
        assert lab.laptop.ping(SERVER) != [None]
        macs.append(ip_json(lab, "neigh", "show", "192.168.10.1")[0]["lladdr"])
    assert macs[0] != macs[1]


@pytest.mark.parametrize(("silent", "ends"), [(False, True), (True, False)])
def test_a_connection_from_elsewhere_is_reset_or_met_with_silence(lab: Lab, silent: bool, ends: bool) -> None:
    """With the same address on another network, a gateway with NAT passes the server's RST.

    A silent gateway drops the RST, and the connection hangs.
    """
    lab.set_gateway("office", nat=True, silent=silent)
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web": {"HostName": SERVER}})
    pipe = subprocess.PIPE
    session = lab.laptop.popen(["ssh", "web", "echo ready; cat"], stdin=pipe, stdout=pipe, stderr=pipe)
    assert session.stdin and session.stdout
    assert session.stdout.readline() == "ready\n"
    lab.switch("home", "office")
    session.stdin.write("are you there\n")
    session.stdin.flush()
    if ends:
        session.wait(20)
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            session.wait(1)


def test_ipv6_reaches_the_server(lab: Lab) -> None:
    """With IPv6 the laptop logs in from a global address, once the address is no longer tentative."""
    lab.close()
    with Lab(ipv6=True) as six:
        six.join("home")
        six.sshd(SERVER_6)
        six.ssh_config({"six": {"HostName": SERVER_6}})
        wait_until(lambda: six.laptop.run(["ssh", "-oConnectTimeout=2", "six", "true"]).returncode == 0)


def test_ipv6_moves_too(lab: Lab) -> None:
    """After a switch, or after leaving and joining, the only IPv6 default route is that of the new network."""
    lab.close()
    with Lab(ipv6=True) as six:
        six.join("home")
        six.switch("home", "cafe")
        assert [r["gateway"] for r in ip_json(six, "-6", "route", "show", "default")] == ["2001:db8:2::1"]
        six.leave("cafe")
        assert ip_json(six, "-6", "route", "show", "default") == []
        six.join("home")
        assert [r["gateway"] for r in ip_json(six, "-6", "route", "show", "default")] == ["2001:db8:1::1"]


def test_suspend_stops_the_laptop_and_resume_lets_it_go_on(lab: Lab) -> None:
    """A suspended process prints nothing until it is resumed."""
    talker = lab.laptop.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert talker.stdin and talker.stdout
    wait_until(lambda: talker.pid in lab.laptop.pids())
    lab.suspend()
    assert state(lab.guardian_pid) != "T"
    wait_until(lambda: state(talker.pid) == "T")
    lab.resume()
    talker.stdin.write("awake\n")
    talker.stdin.flush()
    assert talker.stdout.readline() == "awake\n"


def state(pid: int) -> str:
    """Return the state letter of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
