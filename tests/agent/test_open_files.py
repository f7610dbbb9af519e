"""The agent raises its limit of open files."""

from __future__ import annotations

import resource

from trayagent.agent.open_files_limit import allow_many_files


def test_the_soft_limit_becomes_the_hard_one() -> None:
    """The soft limit is raised to the hard limit. A second call changes nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert allow_many_files() == before[1]
        assert allow_many_files() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
