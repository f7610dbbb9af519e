"""With AddressFamily inet6, ssh uses IPv6 only, for its connection and for the ends of its forwards."""

from __future__ import annotations

import pytest

from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER_6

HOST = "web01"


@pytest.mark.parametrize("lab", [{"ipv6": True}], indirect=True)
def test_a_local_forward_on_ipv6_alone_is_open(lab: Lab, agent: Agent) -> None:
    """`status` names the address on which ssh listens."""
    lab.join("home")
    lab.sshd(SERVER_6)
    lab.ssh_config({HOST: {"HostName": SERVER_6, "AddressFamily": "inet6"}})
    agent.start(f'[hosts.{HOST}]\nlocal = ["9000:127.0.0.1:8000"]\n')
    agent.wait_forwards(HOST, {"local": "open"})
    host = agent.host(HOST)
    assert host is not None
    assert [forward["listen"] for forward in host["forwards"]] == ["[::1]:9000"]
