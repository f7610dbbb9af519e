"""Silent masters when another address of their name answers: login nodes, dual-stack servers, dynamic DNS."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import HOST_KEY, SERVER, Story
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.time_constants import RENAMED_S

NODE_B = "203.0.113.12"
SERVER_6 = "2001:db8:53::10"


def silent(story: Story, *, direct: bool = True) -> None:
    """Begin with a flap of the network, after which the master does not answer and a control is running."""
    story.connected(scene=HOME, host_key=HOST_KEY, direct=direct)
    if not direct:
        story.resolved("web", jump="bastion", hop=Hop("bastion", 22))
    story.after(60).network(HOME.down("wlan0"))
    story.after(1).network(HOME)
    story.after(1)
    assert len(story.did(a.Dial)) == 1


def addresses(story: Story) -> list[str | None]:
    """Return the addresses to which the logins were directed."""
    return [action.address for action in story.actions if isinstance(action, a.Dial)]


def ended(story: Story) -> bool:
    """Report whether the old master was ended."""
    return bool([*story.did(a.Kill), *story.did(a.TakeOver)])


def test_another_login_node_is_no_control_for_a_silent_connection(story: Story) -> None:
    """If another machine with the same name and key answers, the silent connection is kept until it answers."""
    silent(story)
    story.established("web", None, NODE_B, SERVER)
    story.ready("web", peer=NODE_B)
    assert story.did(a.Discard)
    assert (story.shown("web"), story.problem("web")) == ("waiting", "other-machine")
    story.after(1.5)
    assert addresses(story) == [None, SERVER]
    for _ in range(3):  # the node is away for longer than a renamed server
        story.fails("web", "timed-out")
        assert story.problem("web") == "other-machine"
        story.after(RENAMED_S)
    assert not ended(story)
    story.answered("web")
    assert (story.shown("web"), story.problem("web")) == ("connected", None)


def test_the_old_node_that_answers_a_login_is_a_control(story: Story) -> None:
    """Once the master's own address accepts a login, the master that is still silent is stale."""
    silent(story)
    story.ready("web", peer=NODE_B)
    story.after(1.5).ready("web", peer=SERVER)
    story.after(3)
    assert story.did(a.TakeOver)


def test_another_node_that_refuses_the_login_is_no_control(story: Story) -> None:
    """A refusal by another login node ends no silent connection."""
    silent(story)
    story.established("web", None, NODE_B, SERVER)
    story.fails("web", "auth", positive=True)
    story.after(60)
    assert not ended(story)


@pytest.mark.parametrize(("others", "counts"), [((), True), ((NODE_B,), False)])
def test_the_other_family_of_a_name_is_the_same_server(
    story: Story, others: tuple[str, ...], *, counts: bool
) -> None:
    """An IPv6 address of the name counts as the master's IPv4 server, unless the name leads to several servers."""
    silent(story)
    story.established("web", None, SERVER_6, SERVER, *others)
    story.ready("web", peer=SERVER_6)
    story.after(3)
    assert ended(story) is counts


def test_any_login_node_replaces_a_connection_whose_address_is_gone(story: Story) -> None:
    """After a move the old connection can carry nothing to any node, so another one replaces it."""
    story.connected(scene=HOME, host_key=HOST_KEY)
    story.after(60).network(CAFE)
    story.established("web", None, NODE_B, SERVER)
    story.ready("web", peer=NODE_B)
    story.after(1)
    assert story.did(a.TakeOver)


def test_another_jump_host_is_no_control_for_a_silent_connection(story: Story) -> None:
    """A login through another jump host is no control. No control can be directed, so the agent waits."""
    silent(story, direct=False)
    story.established("web", None, NODE_B, SERVER)
    story.ready("web", peer=NODE_B, direct=False)
    story.after(60)
    assert not ended(story)
    assert (len(story.did(a.Dial)), story.problem("web")) == (1, "other-machine")
    story.ended("web", kind="timed-out")
    assert len(story.did(a.Dial)) == 2


def test_another_node_connects_once_the_old_connection_ended(story: Story) -> None:
    """When ssh's keep-alive ends the silent master, the host connects at once, at any address."""
    silent(story)
    story.ready("web", peer=NODE_B)
    story.after(1.5).fails("web", "timed-out")
    story.ended("web", kind="timed-out")
    assert addresses(story)[-1] is None
    story.ready("web", peer=NODE_B)
    story.took_over("web")
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("answers", [False, True])
def test_a_server_that_moved_for_good_is_replaced(story: Story, *, answers: bool) -> None:
    """If the name no longer leads to the old address, and nothing accepts a connection there, the server moved."""
    silent(story)
    story.established("web", None, NODE_B)
    story.ready("web", peer=NODE_B)
    began = story.t
    while story.t < began + 2 * RENAMED_S and not ended(story):
        story.after(1)
        attempt = story.host("web").attempt
        if attempt is None:
            continue
        if addresses(story)[-1] is None:
            story.ready("web", peer=NODE_B)
            continue
        if answers:
            story.established("web", None, SERVER)
        story.after(5).fails("web", "timed-out")
    assert ended(story) is not answers
    assert story.t >= began + RENAMED_S
