"""NetworkManager's dispatcher script for Multipath TCP, as NetworkManager runs it, in a network namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory
from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Lab
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.networkmanager import NetworkManager
from trayagent.sandbox.ssh_config_of_laptop import over_mptcp
from trayagent.ssh.master.mptcp_socket import is_enabled

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not is_enabled(), reason="this kernel has no MPTCP")]

SCRIPT = Path(__file__).parents[2] / "installers" / "linux" / "nm-dispatcher-mptcp"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Build a laboratory."""
    with laboratory() as built:
        yield built


def run(lab: Lab, event: str, *, join_s: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the script for an event of `wlan0`, and return its trace."""
    env = {"TRAYAGENT_MPTCP_FOLDER": str(lab.files.root / "mptcp"), "TRAYAGENT_MPTCP_JOIN_S": join_s}
    return lab.laptop.run(["sh", "-x", str(SCRIPT), "wlan0", event], admin=True, env=env)


def announced(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the endpoints that the script announced and removed, as "ADDRESS ID"."""
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stderr.splitlines() if line.startswith("+ ip mptcp endpoint add")]
    return [f"{one[5]} {one[7]}" for one in words if one[-1] == "signal"]


def endpoints(lab: Lab) -> list[str]:
    """Return the addresses of the laptop's endpoints."""
    return [line.split()[0] for line in lab.laptop.check(["ip", "mptcp", "endpoint"]).splitlines()]


def test_each_address_that_is_gone_is_announced_once(lab: Lab) -> None:
    """The script announces and removes an address that is gone, as soon as there is another one, and only once.

    An address that came back, or whose number another address has now, keeps its endpoint. Other events do nothing.
    """
    lab.set_mptcp(True)
    lab.join("home")
    assert announced(run(lab, "up")) == []
    lab.leave("home")
    assert announced(run(lab, "down")) == []  # no network: nothing could be sent
    lab.join("cafe")
    assert announced(run(lab, "hostname")) == []
    assert announced(run(lab, "up")) == ["192.168.10.2 1"]
    assert endpoints(lab) == ["10.20.0.2"]
    assert announced(run(lab, "up")) == []
    lab.switch("cafe", "home")
    assert announced(run(lab, "up")) == ["10.20.0.2 2"]
    assert endpoints(lab) == ["192.168.10.2"]
    lab.laptop.ip("mptcp endpoint delete id 3", "mptcp endpoint add 192.168.10.9 dev wlan0 id 3 subflow")
    assert announced(run(lab, "dhcp4-change")) == []
    assert endpoints(lab) == ["192.168.10.9"]


def test_the_next_address_gets_another_number(lab: Lab) -> None:
    """After the script ran, the kernel gives a new endpoint a number that none had before."""
    lab.laptop.ip("mptcp endpoint add 198.51.100.1 subflow")
    run(lab, "up")
    lab.laptop.ip("mptcp endpoint delete id 1", "mptcp endpoint add 198.51.100.2 subflow")
    assert "198.51.100.2 id 2 subflow" in lab.laptop.check(["ip", "mptcp", "endpoint"])


def test_a_session_survives_three_moves_under_networkmanager(lab: Lab) -> None:
    """With the endpoints of a real NetworkManager and this script, a session continues after the third move, too."""
    try:
        manager = NetworkManager(lab)
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    manager.join("home")
    run(lab, "up")
    lab.sshd(mptcp=True)
    lab.ssh_config({"web": {"HostName": SERVER}})
    pipe = subprocess.PIPE
    session = lab.laptop.popen(["ssh", *over_mptcp(), "web", "cat"], stdin=pipe, stdout=pipe)
    assert session.stdin is not None
    assert session.stdout is not None
    for network in ("", "cafe", "home", "cafe"):
        if network:
            manager.join(network)
        session.stdin.write("x\n")
        session.stdin.flush()
        assert session.stdout.readline() == "x\n", network
        run(lab, "up", join_s="0.1")  # the answer came over the new path
