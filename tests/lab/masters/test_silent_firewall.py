"""The probe that replaces the sentinel: the server itself answers it, whatever its firewall drops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.lab.logins.test_dropbear import MISSING, dropbear
from tests.lab.logins.test_openssh_versions import program
from tests.lab.logins.test_other_servers import asyncssh, tinysshd
from tests.lab.matrix import HOST, OPTIONS, alive
from trayagent.sandbox import Agent, Lab
from trayagent.ssh.mux.client import MuxClient

RULES = "table inet quiet {\n chain out {\n  type filter hook output priority 0;\n  oifname lo drop\n }\n}\n"


def drop_own_connections(lab: Lab) -> None:
    """Make the server's firewall silently drop the server's connections to itself, and its DNS queries."""
    lab.server.check(["nft", "-f", "-"], admin=True, text=RULES)


def test_a_session_is_kept_where_the_server_drops_its_own_connections(lab: Lab, agent: Agent) -> None:
    """After a flicker the only probe is a request for a forward. The server answers it, and the master stays."""
    lab.join("home")
    drop_own_connections(lab)
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(f'[hosts.{HOST}]\nprobe = "forward"\n')
    pid = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    lab.flap(1)
    assert events.wait("master-kept", HOST)["pid"] == pid
    assert alive(pid)


@contextmanager
def newest(lab: Lab) -> Iterator[None]:
    """Run the newest sshd."""
    lab.sshd(program=program("sid", "usr/sbin/sshd"))
    yield


@contextmanager
def small(lab: Lab) -> Iterator[None]:
    """Run Dropbear."""
    if MISSING:
        pytest.skip("Dropbear is missing")
    with dropbear(lab):
        yield


@pytest.mark.parametrize("server", [newest, small, asyncssh, tinysshd])
def test_each_server_answers_at_once(lab: Lab, server: Callable[[Lab], AbstractContextManager[None]]) -> None:
    """Each server answers the probe without sending a packet or using a name server."""
    lab.join("home")
    path = lab.files.root / "cm"
    lab.ssh_config({HOST: {**OPTIONS, "ControlPath": str(path)}})
    with server(lab):
        drop_own_connections(lab)
        lab.laptop.check(["ssh", "-MNf", HOST])
        try:
            asyncio.run(question(str(path)))
        finally:
            lab.laptop.check(["ssh", "-O", "exit", HOST])


async def question(path: str) -> None:
    """Send the probe through a master. Raises Timeout if no answer comes."""
    async with MuxClient.connected(path) as client:
        await client.round_trip(timeout_s=2)
