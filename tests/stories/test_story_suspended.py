"""A suspended master (~^Z, Ctrl-Z, a debugger) cannot read an answer; a stuck sentinel is not a dead connection."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, OFFICE
from tests.stories.teller import ON_USE, Story
from trayagent.core.facts.actions import Dial, Kill, Observe, SendProbe, TakeOver
from trayagent.core.facts.network import Touched
from trayagent.core.facts.user_events import UserViewedStatus

FLICKER = Touched(links=frozenset({"wlan0"}))


@pytest.fixture
def suspended(story: Story) -> Story:
    """The user's own session is suspended, and the network flickers."""
    story.connected(scene=HOME, wish=ON_USE)
    story.stopped.add("web")
    story.after(60).network(HOME, FLICKER)
    story.after(2)
    return story


def _harmed(story: Story) -> bool:
    return bool(story.did(Dial) or story.did(TakeOver) or story.did(Kill))


def test_silence_of_a_suspended_master_starts_no_control(suspended: Story) -> None:
    """However long it lasts: the agent looks every few seconds, and the user sees the reason."""
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
    """The probe waited for it, and its answer is the event."""
    suspended.after(600)
    suspended.stopped.clear()
    suspended.answered("web")
    assert suspended.shown("web") == "connected"
    assert not _harmed(suspended)


def test_a_suspended_master_that_continues_is_probed_anew(suspended: Story) -> None:
    """Silence counts from then on. A connection that is dead by then is replaced as any other."""
    suspended.after(600)
    suspended.stopped.clear()
    suspended.forget()
    suspended.after(5)
    assert len([p for p in suspended.did(SendProbe) if isinstance(p, SendProbe) and not p.second]) == 1
    assert suspended.did(Dial)
    suspended.ready("web")
    suspended.after(1)
    assert suspended.did(TakeOver)


def test_a_master_that_is_suspended_during_the_control_is_kept(story: Story) -> None:
    """Row 9 looks last, so it sees what happened since row 7."""
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
    """`status` after half a minute: the network never changed."""
    story.connected(scene=HOME, wish=ON_USE)
    story.stopped.add("web")
    story.after(60)
    story.post(UserViewedStatus(story.t))
    story.after(600)
    assert not _harmed(story)
    assert story.shown("web") == "waiting"


def test_a_second_look_reads_at_once_whether_it_continued(suspended: Story) -> None:
    """The user types fg, then status: the host is connected before the next scheduled check."""
    suspended.stopped.clear()
    suspended.forget()
    suspended.post(UserViewedStatus(suspended.t))
    suspended.answered("web")
    assert suspended.did(SendProbe)
    assert suspended.shown("web") == "connected"


def test_row_4_a_suspended_master_without_its_address_is_replaced(story: Story) -> None:
    """Its TCP connection is proven dead, whether or not it can read."""
    story.connected(scene=HOME)
    story.stopped.add("web")
    story.after(60).network(CAFE)
    story.after(0.5).established("web")
    story.ready("web")
    story.after(1)
    assert story.did(TakeOver)


def test_an_answer_to_the_second_question_keeps_a_master_with_a_stuck_sentinel(story: Story) -> None:
    """The line is acknowledged, the sentinel is silent: the answer to a forward is life, and no control starts."""
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
    """Nothing is acknowledged: the control starts in the same decision."""
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
