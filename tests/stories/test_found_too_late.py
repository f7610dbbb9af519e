"""Masters that the agent finds after the network changed, and failures whose cause is on this machine."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Resolve
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.problems import Problem


def test_a_fresh_master_whose_address_is_gone_already_is_in_doubt(story: Story) -> None:
    """A fresh master whose address is already gone is suspect, even if the kernel was queried before.

    A restarted agent therefore does not trust a master's recent start.
    """
    story.network(CAFE)
    story.started()
    for name in ("web", "other"):  # the snapshot already has a route lookup for the second master
        story.found(name, local="192.168.10.2")
        assert story.host(name).suspect
        story.resolved(name)
        assert story.did(Dial, name)


def test_no_control_before_ssh_g_has_a_result(story: Story) -> None:
    """A master that is found before `ssh -G` has a result gets its control as soon as there is one."""
    story.network(CAFE)
    story.started()
    story.found("web", local="192.168.10.2")
    assert not story.did(Dial)
    story.resolved("web")
    assert story.did(Dial)


def test_a_local_obstacle_that_is_gone_ends_the_wait_at_once(story: Story) -> None:
    """A host with a taken control path connects as soon as the holder ends.

    A server that is away gets no earlier retry.
    """
    story.configured(web=Wish(listed=True, connect="always"), away=Wish(listed=True, connect="always"))
    story.resolved("web")
    story.resolved("away", server="198.51.100.7")
    story.network(HOME)
    story.started()
    story.fails("web", "control-path")
    story.fails("away", "refused")
    story.forget()
    for name in ("web", "away"):
        story.post(e.ObstacleGone(story.t, name))
    assert story.did(Dial, "web")
    assert not story.did(Dial, "away")


def test_a_changed_result_of_ssh_g_is_tried_at_once(story: Story) -> None:
    """A fixed name or control path in ssh_config is tried at once, without waiting for the back-off."""
    story.configured(web=Wish(listed=True, connect="always"))
    story.resolved("web", server="198.51.100.1")
    story.network(HOME)
    story.started()
    for kind in ("control-path", "dns"):
        story.fails("web", kind)
        story.forget()
        story.after(0.1).resolved("web", server="198.51.100.2" if kind == "dns" else "198.51.100.3")
        assert story.did(Dial)


def test_ssh_g_runs_again_after_a_while_if_it_failed(story: Story) -> None:
    """A Match exec that was too slow at login leads to another run of `ssh -G` after 300 s, and to none before."""
    story.configured(web=Wish(listed=True, connect="always"))
    story.network(HOME)
    story.started()
    no_answer = Failure(Problem("config-error", "ssh -G web took longer than 2 s"), "config")
    story.post(e.ResolveFailed(story.t, "web", no_answer))
    assert story.shown("web") == "failed"
    story.forget()
    story.after(299)
    assert not story.did(Resolve)
    story.after(2)
    assert len(story.did(Resolve)) == 1
    story.resolved("web")
    assert story.did(Dial)
