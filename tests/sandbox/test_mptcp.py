"""An ssh connection over Multipath TCP, which follows the laptop to another network."""

from __future__ import annotations

import pytest

from tests.lab.matrix import until
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.ssh_config_of_laptop import over_mptcp

pytestmark = pytest.mark.lab


def test_a_session_moves_along(lab: Lab) -> None:
    """A session continues from home to the café with one MPTCP endpoint per address, as NetworkManager sets it."""
    lab.set_mptcp(True)
    lab.join("home")
    lab.sshd(mptcp=True)
    lab.ssh_config({"web": {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
    master = lab.laptop.popen(["ssh", "-M", "-N", *over_mptcp(), "web"])
    until("a master", lambda: lab.laptop.run(["ssh", "-O", "check", "web"]).returncode == 0)
    with lab.traffic("down", "web") as traffic:
        traffic.wait(100_000)
        lab.switch("home", "cafe")
        traffic.wait(1_000_000)
        assert lab.laptop.run(["ip", "mptcp", "endpoint"]).stdout.split()[0] == "10.20.0.2"
        assert master.poll() is None
    assert lab.servers[0].logins() == 1
