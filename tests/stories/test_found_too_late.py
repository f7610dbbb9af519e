"""Masters found after the network that they were made in; and what waits for this machine, not for a server."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Resolve
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.problems import Problem


def test_a_fresh_master_whose_address_is_gone_already_is_in_doubt(story: Story) -> None:
    """An agent that was restarted in between believes no start time, also where the kernel was asked before."""
    story.network(CAFE)
    story.started()
    for name in ("web", "other"):  # the second one's question to the kernel is answered already
        story.found(name, local="192.168.10.2")
        assert story.host(name).suspect
        story.resolved(name)
        assert story.did(Dial, name)


def test_no_control_of_a_host_before_ssh_has_told_how(story: Story) -> None:
    """A master found before `ssh -G` answered for its host is controlled when it has, not failed."""
    story.network(CAFE)
    story.started()
    story.found("web", local="192.168.10.2")
    assert not story.did(Dial)
    story.resolved("web")
    assert story.did(Dial)


def test_what_this_machine_stood_in_the_way_of_goes_on_the_moment_it_does_not(story: Story) -> None:
    """A taken control path waits for its holder's end; a server that is away is not asked sooner for that."""
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


def test_a_changed_answer_of_ssh_is_tried_at_once(story: Story) -> None:
    """Whoever mends a name or a control path in ssh_config does not wait for a back-off."""
    story.configured(web=Wish(listed=True, connect="always"))
    story.resolved("web", server="198.51.100.1")
    story.network(HOME)
    story.started()
    for kind in ("control-path", "dns"):
        story.fails("web", kind)
        story.forget()
        story.after(0.1).resolved("web", server="198.51.100.2" if kind == "dns" else "198.51.100.3")
        assert story.did(Dial)


def test_ssh_is_asked_again_in_time_where_it_gave_no_answer(story: Story) -> None:
    """A Match exec that was too slow at login is no reason to fail for ever; nor is it asked all the time."""
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
