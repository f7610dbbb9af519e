"""A suspended master (~^Z, Ctrl-Z, a debugger) or a stuck sentinel is silent, although the connection is not dead."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, OFFICE
from tests.stories.teller import ON_USE, Story
from trayagent.core.facts.actions import Dial, Kill, Observe, SendProbe, TakeOver
from trayagent.core.facts.network import Touched
from trayagent.core.facts.user_events import UserReconnect, UserViewedStatus

FLICKER = Touched(links=frozenset({"wlan0"}))


@pytest.fixture
def suspended(story: Story) -> Story:
    """Begin with the user's own session, which is suspended while the network flickers."""
    story.connected(scene=HOME, wish=ON_USE)
    story.stopped.add("web")
    story.unsent.add("web")
    story.after(60).network(HOME, FLICKER)
    story.after(2)
    return story


def _harmed(story: Story) -> bool:
    return bool(story.did(Dial) or story.did(TakeOver) or story.did(Kill))


def test_silence_of_a_suspended_master_starts_no_control(suspended: Story) -> None:
    """A suspended master causes no control, however long it lasts.

    The agent checks it every few seconds, and shows the reason.
    """
    suspended.expect("""
        60.000 network: home (wlan0 flickered)
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.500 the time came for web
                web: row 6 wait
    """)
    suspended.after(3600)
    assert not _harmed(suspended)
    assert suspended.shown("web") == "waiting"
    assert suspended.problem("web") == "suspended"
    assert len(suspended.did(Observe)) <= 3600 / 5 + 1


def test_a_suspended_master_that_continues_is_kept(suspended: Story) -> None:
    """A suspended master that continues answers the waiting probe, and is kept."""
    suspended.after(600)
    suspended.stopped.clear()
    suspended.unsent.clear()
    suspended.answered("web")
    assert suspended.shown("web") == "connected"
    assert not _harmed(suspended)


def test_a_suspended_master_that_continues_is_probed_anew(suspended: Story) -> None:
    """A suspended master that continues is probed again.

    If it is silent from then on, it is replaced like any other.
    """
    suspended.after(600)
    suspended.stopped.clear()
    suspended.unsent.clear()
    suspended.forget()
    suspended.after(5)
    assert len([p for p in suspended.did(SendProbe) if isinstance(p, SendProbe) and not p.second]) == 1
    assert suspended.did(Dial)
    suspended.ready("web")
    suspended.after(1)
    assert suspended.did(TakeOver)


def test_a_master_that_is_suspended_during_the_control_is_kept(story: Story) -> None:
    """Row 9 checks again for suspension, so a master that was suspended during the control is kept."""
    story.connected(scene=HOME)
    story.after(60).network(HOME, FLICKER)
    story.after(0.6).established("web")
    story.stopped.add("web")
    story.ready("web")
    story.after(600)
    assert not story.did(TakeOver)
    story.answered("web")
    assert story.shown("web") == "connected"


def test_a_look_at_a_suspended_master_does_it_no_harm(story: Story) -> None:
    """If the user runs `status` and the network has not changed, a suspended master is kept."""
    story.connected(scene=HOME, wish=ON_USE)
    story.stopped.add("web")
    story.after(60)
    story.post(UserViewedStatus(story.t))
    story.after(600)
    assert not _harmed(story)
    assert story.shown("web") == "waiting"


def test_a_second_look_reads_at_once_whether_it_continued(suspended: Story) -> None:
    """`status` after fg checks at once whether the master continued, so the host need not wait for the next check."""
    suspended.stopped.clear()
    suspended.unsent.clear()
    suspended.forget()
    suspended.post(UserViewedStatus(suspended.t))
    suspended.answered("web")
    assert suspended.did(SendProbe)
    assert suspended.shown("web") == "connected"


def test_row_4_a_suspended_master_without_its_address_is_replaced(story: Story) -> None:
    """If its address is gone, a suspended master is replaced, because its TCP connection is dead."""
    story.connected(scene=HOME)
    story.stopped.add("web")
    story.after(60).network(CAFE)
    story.after(0.5).established("web")
    story.ready("web")
    story.after(1)
    assert story.did(TakeOver)


def test_an_answer_to_the_second_question_keeps_a_master_with_a_stuck_sentinel(story: Story) -> None:
    """If the sentinel is silent but TCP acknowledges, a second probe by forward is answered, and no control starts."""
    story.connected(scene=HOME)
    story.acked["web"] = 3820
    story.after(60).network(HOME, FLICKER)
    story.after(0.6)
    asked = [probe.second for probe in story.did(SendProbe) if isinstance(probe, SendProbe)]
    assert asked == [False, True]
    story.answered("web")
    story.after(120)
    assert not _harmed(story)
    assert story.shown("web") == "connected"


def test_the_second_question_is_asked_once_and_delays_nothing(story: Story) -> None:
    """Without an acknowledgement, the second probe is sent only once, and the control starts in the same decision."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2)
    assert story.did(Dial)
    story.after(0.3).established("web")
    story.ready("web")
    story.after(1)
    assert story.did(TakeOver)
    asked = [probe.second for probe in story.did(SendProbe) if isinstance(probe, SendProbe)]
    assert asked == [False, True]


def test_a_probe_that_ssh_has_not_sent_proves_no_silence(story: Story) -> None:
    """After a suspend, ssh may keep the probe in its own buffer. Silence counts only once ssh has sent it."""
    story.connected(scene=HOME)
    story.unsent.add("web")
    story.after(60).network(HOME, FLICKER)
    story.after(4)
    assert not _harmed(story)
    story.unsent.clear()
    story.after(0.3).answered("web")
    assert story.shown("web") == "connected"
    assert not _harmed(story)


def test_an_unsent_probe_holds_a_positive_control_back(story: Story) -> None:
    """A positive control ends no master whose ssh has not sent the probe.

    If the probe is then sent and stays without an answer, the master is replaced.
    """
    story.connected(scene=HOME)
    story.after(60).network(HOME, FLICKER)
    story.after(0.6).established("web")
    story.unsent.add("web")
    story.ready("web")
    story.after(5)
    assert not story.did(TakeOver)
    story.unsent.clear()
    story.after(2)
    assert story.did(TakeOver)


def test_an_ssh_that_never_sends_its_probe_is_replaced(story: Story) -> None:
    """The wait for an unsent probe is limited. After it, silence counts as usual."""
    story.connected(scene=HOME)
    story.unsent.add("web")
    story.after(60).network(HOME, FLICKER)
    story.after(11)
    assert story.did(Dial)
    story.established("web")
    story.ready("web")
    story.after(1)
    assert story.did(TakeOver)


def test_an_old_master_that_has_not_sent_its_probe_drains_once_it_answers(story: Story) -> None:
    """A requested reconnect does not end an old master for its silence while its ssh keeps the probe."""
    story.connected(scene=HOME)
    story.unsent.add("web")
    story.after(60).post(UserReconnect(story.t, ("web",)), "reconnect")
    story.after(0.2).established("web")
    story.ready("web")
    story.after(3)
    assert not story.did(TakeOver)
    story.unsent.clear()
    story.answered("web")
    assert [one.drain for one in story.did(TakeOver) if isinstance(one, TakeOver)] == [True]
