"""The agent raises its limit of open files to the system's maximum."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab


def test_an_agent_that_starts_with_few_files_has_many(lab: Lab, agent: Agent) -> None:
    """An agent that starts with a soft limit of 256 raises that limit."""
    del lab
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        agent.start("")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    pid = agent.pid
    assert pid is not None
    limits = Path(f"/proc/{pid}/limits")
    until("the limit is raised", lambda: re.search(rf"Max open files +{before[1]} ", limits.read_text()))
