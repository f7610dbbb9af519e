"""Other versions of OpenSSH on both ends: Debian's next release (10.0) and the newest, besides the machine's own.

`installers/lab-ssh trixie sid` unpacks these versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.forwards.test_agent_socket import heard, link, ssh_agent, target
from tests.lab.forwards.test_remote_cleanup import HOST, PORT, SERVER, decisions, far_pid, kept, reached
from tests.lab.matrix import alive, laboratory, until
from trayagent.sandbox import Agent, Lab

UNPACKED = Path(__file__).parents[3] / ".tools" / "openssh"
CONFIG = f"""\
[hosts.{HOST}]
local = ["9000:127.0.0.1:8001"]
remote = ["{PORT}:127.0.0.1:8000"]
agent_socket = "~/.ssh/agent.sock"
"""
OWN = "the machine's own"


def program(suite: str, path: str) -> str | None:
    """Return the path of a suite's program, or None for the machine's own. Skip if the suite is not unpacked."""
    if suite == OWN:
        return None
    if not (UNPACKED / suite / "version").exists():
        pytest.skip(f"the OpenSSH of {suite} is missing: installers/lab-ssh {suite}")
    return str(UNPACKED / suite / path)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Build a laboratory whose laptop and server have these versions of OpenSSH."""
    client, server = request.param
    sshd = program(server, "usr/sbin/sshd")
    with laboratory(ssh=program(client, "usr/bin/ssh")) as made:
        made.join("home")
        made.sshd(program=sshd)
        yield made
        for one in made.servers:
            one.end_sessions()


@pytest.mark.parametrize(
    "lab", [(OWN, "trixie"), ("trixie", OWN), (OWN, "sid"), ("sid", "sid")], ids="-".join, indirect=True
)
def test_forwards_and_the_agent_socket_are_back_after_a_move(lab: Lab, agent: Agent) -> None:
    """The agent ends the dead session on the server, -R comes back, and the link leads to the new agent socket."""
    lab.echo(8000, node=lab.laptop)
    lab.echo(8001)
    lab.ssh_config({HOST: {**SERVER, "ForwardAgent": "yes"}})
    with ssh_agent(lab, "mine") as socket:
        agent.env["SSH_AUTH_SOCK"] = str(socket)
        agent.start(CONFIG)
        agent.wait_forwards(HOST, {"remote": "open", "local": "open"})
        until("the remote session is on record", lambda: kept(agent))
        until("the link leads to the ssh-agent", lambda: "mine" in heard(lab))
        old, before = far_pid(agent), target(lab)
        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", HOST)
        agent.wait_forwards(HOST, {"remote": "open", "local": "open"})
        assert reached(lab)
        assert not alive(old)
        assert "ended=1" in decisions(agent, "reap")[-1]
        until("the link leads to the new socket", lambda: target(lab) != before and "mine" in heard(lab))
        left = [*link(lab).parent.glob("agent/s.*")]
        assert [str(path) for path in left] in ([], [target(lab)]), old
