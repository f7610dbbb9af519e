"""An ssh beside a master: when it is proven stale."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, Scene
from tests.stories.teller import HOST_KEY, SERVER, Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import DialBare, Kill
from trayagent.core.facts.draining import Beside, Draining

OWNER = "me@server:22"


def at(story: Story, scene: Scene) -> None:
    """Begin with an agent that ends dead ssh sessions, on this network."""
    story.network(scene)
    story.post(e.Configured(story.t, {}, end_beside=True))
    story.started()


def found(story: Story, *, peer: str, local: str, made_at: float, key: str | None = None) -> str:
    """Report an ssh that was started at `made_at`. Return the name under which the agent judges it."""
    master = story.master(OWNER, peer=peer, local=local, control_path="", host_key=key)
    story.post(e.DrainingFound(story.t, master, Draining(OWNER, made_at, 1, beside=Beside())))
    return f"{OWNER} beside {master.pid}"


def controls(story: Story, name: str) -> list[bool]:
    """Return for each control whether it ends at the banner."""
    return [action.banner for action in story.did(DialBare, name) if isinstance(action, DialBare)]


@pytest.mark.parametrize(("recorded", "banner"), [(None, True), (HOST_KEY, False)])
def test_the_banner_ends_the_control_unless_a_key_is_recorded(
    story: Story, recorded: str | None, banner: bool
) -> None:
    """If the local address is gone, the control ends at the banner, since any SSH server's answer is enough.

    With a recorded host key, the control must prove that key.
    """
    at(story, HOME)
    story.after(60).network(CAFE)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=30, key=recorded)
    assert controls(story, name) == [banner]
    story.after(0.1).ready(name, bare=True, host_key=None, trusted=False)
    assert not story.did(Kill, name), "the address may return"
    story.after(0.2)
    assert len(story.did(Kill, name)) == 1


def test_an_address_that_returns_ends_the_control(story: Story) -> None:
    """If the address returns before the banner, the late answer proves nothing, and the ssh is kept."""
    at(story, HOME)
    story.after(60).network(CAFE)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=30)
    number = story.host(name).attempt
    assert number is not None
    story.after(0.1).network(HOME)
    story.after(0.1).post(e.AttemptReady(story.t, name, number.id, None))
    story.after(3600)
    assert not story.did(Kill, name)
