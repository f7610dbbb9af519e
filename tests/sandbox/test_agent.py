from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab

pytestmark = pytest.mark.lab

# A minimal fake of the agent's command line. It is "running" while its marker file exists.
STAND_IN = """
import json, os, signal, socket, sys, time
sign = os.environ["TRAYAGENT_RUNTIME_DIR"] + "/sign"
command = sys.argv[1]
if command == "run":
    if "broken" in open(os.environ["TRAYAGENT_CONFIG"]).read():
        sys.exit("config.toml: broken is not a key")
    signal.signal(signal.SIGTERM, lambda *_: (os.unlink(sign), sys.exit(0)))
    open(sign, "w").close()
    signal.pause()
if not os.path.exists(sign):
    sys.exit(3)
if command == "status":
    print(json.dumps({"hosts": [{"name": "web", "state": "connected"}]}))
if command == "events":
    keep = socket.socket(socket.AF_UNIX)
    for event, host in (("connecting", "web"), ("connected", "db"), ("connected", "web")):
        print(json.dumps({"event": event, "host": host}), flush=True)
    time.sleep(60)
"""


class StandIn(Agent):
    """The class Agent, with a fake of the program that it starts."""

    @staticmethod
    def command(*args: str) -> list[str]:
        """Return the command line of the fake."""
        return [sys.executable, "-c", STAND_IN, *args]

    def _answers(self) -> bool:
        """Run the command, because the stand-in has no socket."""
        return self.cli("status", "--json").returncode == 0


@pytest.fixture
def agent(lab: Lab) -> Iterator[Agent]:
    """Prepare a fake agent in the laptop."""
    with StandIn(lab) as made:
        yield made


def test_a_started_agent_answers_and_a_stopped_one_does_not(agent: Agent) -> None:
    """start() returns once `status` works. After stop() a command exits with 3."""
    agent.start("")
    assert agent.pid
    assert agent.host("web") == {"name": "web", "state": "connected"}
    assert agent.wait_state("web", "connected")["name"] == "web"
    agent.stop()
    assert agent.pid is None
    assert agent.cli("status").returncode == 3


def test_the_status_is_that_of_the_command(lab: Lab) -> None:
    """The helper's own request returns what `trayagent status --json` prints."""
    lab.join("home")
    with Agent(lab) as agent:
        agent.start("[hosts.web]\n")
        agent.wait_state("web", "failed")
        printed = json.loads(agent.cli("status", "--json").stdout)
        assert agent.status() == printed
        assert agent.host("web") == printed["hosts"][0]


def test_the_output_of_an_agent_that_does_not_start_is_shown(agent: Agent) -> None:
    """If an agent does not start, the error contains its output."""
    with pytest.raises(TrayagentError, match="broken is not a key"):
        agent.start("broken = true")


def test_a_state_that_does_not_come_shows_the_last_view(agent: Agent) -> None:
    """If a state does not come, the error contains the expected state and the last view."""
    agent.start("")
    with pytest.raises(TrayagentError, match=r'web was not failed(.|\n)*"connected"'):
        agent.wait_state("web", "failed", deadline_s=0.1)


def test_events_are_awaited_by_name_and_host(agent: Agent) -> None:
    """`wait` skips events of other hosts, and `seen` keeps all events."""
    agent.start("")
    events = agent.events()
    assert events.wait("connected", "web") == {"event": "connected", "host": "web"}
    assert [e["host"] for e in events.seen] == ["web", "db", "web"]
    with pytest.raises(TrayagentError, match="no event master-killed"):
        events.wait("master-killed", deadline_s=0.1)


def test_every_path_of_the_agent_is_in_the_laboratory(agent: Agent, lab: Lab) -> None:
    """Configuration, runtime and state folder are private and short enough for a socket's path."""
    for name in ("TRAYAGENT_CONFIG", "TRAYAGENT_RUNTIME_DIR", "TRAYAGENT_STATE_DIR", "TRAYAGENT_SSH_CONFIG"):
        assert Path(agent.env[name]).is_relative_to(lab.files.root)
    assert agent.runtime_dir.stat().st_mode & 0o777 == 0o700
    assert len(f"{agent.runtime_dir}/agent.sock") < 64
