"""Remote forwards come back at once: our own dead session on the server goes, and nothing else there."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab, Sshd

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
PORT = 22221
CONFIG = f'[hosts.{HOST}]\nremote = ["{PORT}:127.0.0.1:8000"]\n'


def up(lab: Lab, agent: Agent, config: str = CONFIG, *sshd_config: str) -> Sshd:
    """Connect the host at home, with a service in the laptop and its far end on record."""
    lab.join("home")
    server = lab.sshd(config=sshd_config)
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({HOST: SERVER})
    agent.start(config)
    agent.wait_forwards(HOST, {"remote": "open"})
    until("the far end is on record", lambda: kept(agent))
    return server


def kept(agent: Agent) -> list[dict[str, Any]]:
    """Return the sessions of the host that the agent keeps on record."""
    found = json.loads((agent.state_dir / "agent.json").read_text())["far"].get(HOST, {})
    sessions: list[dict[str, Any]] = found.get("sessions", [])
    return sessions


def far_pid(agent: Agent) -> int:
    """Return the server-side process of the newest session on record."""
    return int(kept(agent)[-1]["session"]["pid"])


def reached(lab: Lab, port: int = PORT, deadline_s: float = 10.0) -> bool:
    """Report whether the laptop's service answers on a port of the server."""
    with lab.probe(port, node=lab.server) as probe:
        probe.release()
        return probe.result(deadline_s) > 0


def decisions(agent: Agent, verdict: str) -> list[str]:
    """Return the evidence of each decision of that name, as `why` prints it."""
    lines = agent.cli("why", HOST).stdout.splitlines()
    return [line for line in lines if f"  {verdict}  " in f"{line}  "]


@contextlib.contextmanager
def visitor(lab: Lab, port: int = PORT) -> Iterator[None]:
    """Knock on a port of the server twice a second, and hold each connection."""
    knock = (
        "import socket, time\nheld = []\nwhile True:\n try:\n"
        f"  held.append(socket.create_connection(('127.0.0.1', {port}), timeout=1)); held[-1].send(b'hi')\n"
        " except OSError: pass\n time.sleep(0.5)"
    )
    child = lab.server.popen([sys.executable, "-I", "-S", "-c", knock])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def test_a_port_is_back_at_once_while_somebody_knocks_on_the_stale_one(lab: Lab, agent: Agent) -> None:
    """With ClientAlive unset the old session ends, its port is ours again, and -R was never refused."""
    up(lab, agent)
    old = far_pid(agent)
    with visitor(lab):
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        events.wait("forward-open", HOST)
        assert not alive(old)
        assert reached(lab)
    assert not [e for e in events.seen if e["event"] == "forward-failed"], events.seen
    assert "ended=1" in decisions(agent, "reap")[-1]
    assert [one["session"]["pid"] for one in kept(agent)] != [old]
    assert agent.wait_state(HOST, "connected")["problem"] is None


def test_it_comes_back_time_and_again_and_after_a_restart_of_the_agent(lab: Lab, agent: Agent) -> None:
    """Three changes of network, an agent killed with -9 and started again in between; one session is left."""
    server = up(lab, agent)
    old = []
    for here, there, restart in (("home", "cafe", False), ("cafe", "home", True), ("home", "cafe", False)):
        old.append(far_pid(agent))
        if restart:
            agent.kill9()
        lab.switch(here, there)
        if restart:
            agent.start()
        until("a new session is on record", lambda: far_pid(agent) not in old)
        agent.wait_forwards(HOST, {"remote": "open"})
        assert reached(lab)
        until("the old ones are gone", lambda: not any(map(alive, old)))
    assert len(kept(agent)) == 1
    assert server.logins() == 4


def test_a_port_that_the_server_chooses_is_reachable_again(lab: Lab, agent: Agent) -> None:
    """-R with port 0: `status` names the new port, a visitor of it reaches the laptop, the old session is gone."""
    up(lab, agent, f'[hosts.{HOST}]\nremote = ["0:127.0.0.1:8000"]\n')
    old = far_pid(agent)
    events = agent.events()
    lab.switch("home", "cafe")
    opened = events.wait("forward-open", HOST)
    assert reached(lab, int(opened["listen"].rpartition(":")[2]))
    until("the old session is gone", lambda: not alive(old))


def far_socket(lab: Lab) -> Path:
    """Return where on the server the forward's Unix socket lies, as the server and the tests see it."""
    return lab.files.far_home / "in.sock"


UNIX_PROBE = """
import socket, sys, time
limit = time.monotonic() + 10
while True:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1)
            sock.connect(sys.argv[1])
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            break
    except (OSError, AssertionError) as error:
        if time.monotonic() > limit:
            sys.exit(repr(error))
        time.sleep(0.05)
"""


def reached_by_socket(lab: Lab) -> None:
    """Reach the laptop's service through the Unix socket on the server."""
    lab.server.check([sys.executable, "-I", "-S", "-c", UNIX_PROBE, str(far_socket(lab))])


@pytest.mark.parametrize("unlink", [False, True], ids=["plain", "StreamLocalBindUnlink"])
def test_a_unix_socket_is_back_after_a_change_of_network_and_after_reconnect(
    lab: Lab, agent: Agent, unlink: bool
) -> None:
    """The file that every end of a connection leaves behind is removed, when nobody listens on it."""
    config = f'[hosts.{HOST}]\nremote = ["{far_socket(lab)}:127.0.0.1:8000"]\n'
    up(lab, agent, config, *(["StreamLocalBindUnlink yes"] if unlink else []))
    old = far_pid(agent)
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    events.wait("forward-open", HOST)
    reached_by_socket(lab)
    assert not alive(old)
    assert agent.cli("reconnect", HOST).returncode == 0
    agent.wait_forwards(HOST, {"remote": "open"})
    reached_by_socket(lab)
    assert not [e for e in events.drain() if e["event"] == "forward-failed"], events.seen
