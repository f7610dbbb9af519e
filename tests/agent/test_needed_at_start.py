"""For which hosts the agent waits before its first decisions."""

from __future__ import annotations

from trayagent.agent.state.needed_at_start import needed_at_start
from trayagent.config.model import Host

HOSTS = {
    "web": Host(connect="always"),
    "db": Host(connect="on-use"),
    "mail": Host(connect="on-use"),
}


def test_the_start_waits_for_no_host_that_was_never_used() -> None:
    """The agent waits for hosts that it connects or has a record of, also for those that the configuration lost."""
    assert needed_at_start(HOSTS, ["mail", "old"], masters=False) == {"web", "mail", "old"}


def test_with_a_living_master_the_start_waits_for_every_host() -> None:
    """The agent must know all control paths, because the master may belong to any host."""
    assert needed_at_start(HOSTS, ["old"], masters=True) == {"web", "db", "mail", "old"}
