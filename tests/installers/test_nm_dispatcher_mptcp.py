"""NetworkManager's dispatcher script for Multipath TCP, as NetworkManager runs it, in a network namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory
from trayagent.sandbox import Lab
from trayagent.ssh.master.mptcp_socket import is_enabled

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not is_enabled(), reason="this kernel has no MPTCP")]

SCRIPT = Path(__file__).parents[2] / "installers" / "linux" / "nm-dispatcher-mptcp"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Build a laboratory."""
    with laboratory() as built:
        yield built


def run(lab: Lab, event: str) -> subprocess.CompletedProcess[str]:
    """Run the script for an event of `wlan0`, and return its trace."""
    env = {"TRAYAGENT_MPTCP_FOLDER": str(lab.files.root / "mptcp"), "TRAYAGENT_MPTCP_JOIN_S": "0"}
    return lab.laptop.run(["sh", "-x", str(SCRIPT), "wlan0", event], admin=True, env=env)


def announced(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the endpoints that the script announced and removed, as "ADDRESS ID"."""
    assert done.returncode == 0, done.stderr
    added = [line for line in done.stderr.splitlines() if line.startswith("+ ip mptcp endpoint add")]
    return [f"{words[5]} {words[7]}" for words in map(str.split, added)]


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
