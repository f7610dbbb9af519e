"""Names that are removed from ssh_config and the configuration while their masters are up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Kill
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.resolved import Resolved


def unlisted(story: Story) -> None:
    """Remove the host from the configuration."""
    story.configured()


def removed(story: Story, name: str = "web") -> None:
    """Post a result of `ssh -G` without a block for the name: only DNS knows it."""
    story.post(e.HostResolved(story.t, name, Resolved(name, name), Hop(name, 22), named=False), "removed")


def named(story: Story, name: str = "web") -> None:
    """Post a result of `ssh -G` with a block for the name."""
    story.resolved(name)


@pytest.mark.parametrize(
    "order", [(unlisted, removed), (removed, unlisted)], ids=["config-first", "ssh-first"]
)
def test_a_removed_name_gets_no_login_and_keeps_its_master_while_it_lives(
    story: Story, order: tuple[Callable[[Story], None], ...]
) -> None:
    """Once a bare control proves the master stale, the agent ends it and forgets the name."""
    story.connected(scene=HOME)
    story.forget()
    master = story.living("web")
    for change in order:
        change(story)
    story.after(3600)
    assert story.living("web").pid == master.pid
    story.network(CAFE)
    story.established("web")
    story.after(0.1).ready("web", bare=True)
    story.after(0.3)
    assert len(story.did(Kill)) == 1
    story.ended("web")
    story.after(3600)
    assert not story.did(Dial), "a login for a name that the user removed"
    assert "web" not in story.state.hosts


def test_a_removed_name_without_a_master_is_forgotten(story: Story) -> None:
    """An unlisted host that waits for a network is not connected any more once its alias is removed."""
    story.connected(scene=HOME)
    story.forget()
    unlisted(story)
    story.after(60).ended("web", kind="timed-out")
    removed(story)
    story.after(3600)
    assert "web" not in story.state.hosts


def test_a_name_that_returns_is_connected_again(story: Story) -> None:
    """A removed alias that ssh_config has again belongs to its master again, for example after an undo."""
    story.connected(scene=HOME)
    story.forget()
    unlisted(story)
    removed(story)
    assert story.host("web").unnamed
    named(story)
    assert not story.host("web").unnamed
    story.after(60).ended("web", kind="timed-out")
    assert story.did(Dial)


@pytest.mark.parametrize("listed", [True, False])
def test_a_name_that_ssh_config_never_had_keeps_its_master(story: Story, *, listed: bool) -> None:
    """A name that only DNS knows, as in `trayagent login server.example.com`, is no removed name."""
    story.network(HOME)
    story.configured(wishes={"web": ALWAYS} if listed else {})
    if listed:
        removed(story)
    story.started()
    story.found("web")
    for _ in range(2):
        removed(story)
        unlisted(story)
    assert not story.host("web").unnamed
    story.after(60).ended("web", kind="timed-out")
    assert story.did(Dial)
