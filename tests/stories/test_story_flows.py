"""The kernel's reports on a suspect connection: acknowledgements, queues, and a move to another address."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, OFFICE
from tests.stories.teller import Story
from trayagent.core.facts.actions import Dial, Kill, SendProbe, TakeOver
from trayagent.core.facts.events import Observed
from trayagent.core.facts.network import Touched
from trayagent.core.facts.user_events import UserViewedStatus

FLICKER = Touched(links=frozenset({"wlan0"}))


def _uploads(story: Story, seconds: float) -> None:
    """Let the server acknowledge the user's own upload for `seconds`, 10 kB each quarter of a second."""
    for _ in range(int(seconds * 4)):
        story.acked["web"] = story.acked.get("web", 0) + 10_000
        story.due["web"] = story.t + 1
        story.after(0.25)


def test_row_6_rising_acknowledgements_hold_a_positive_control_back(story: Story) -> None:
    """While acknowledgements rise, a master behind a long upload queue is kept, although the control is faster."""
    story.connected(scene=HOME)
    story.due["web"] = 62.0
    story.ahead["web"] = 1_000_000
    story.after(60).network(HOME, FLICKER)
    story.after(0.6).established("web")
    story.acked["web"] = 10_000
    story.ready("web")
    _uploads(story, 120)  # data that was queued before the probe is not acknowledged yet
    assert not story.did(TakeOver)
    assert not story.did(Kill)
    story.answered("web")
    assert story.shown("web") == "connected"


def test_row_6_no_answer_long_after_the_queue_has_drained_ends_the_master(story: Story) -> None:
    """If a proxy on the path acknowledges everything, but no answer comes, the successful control takes over."""
    story.connected(scene=HOME)
    story.due["web"] = 62.0
    story.after(60).network(HOME, FLICKER)
    story.after(0.6).established("web")
    story.acked["web"] = 10_000
    story.ready("web")
    _uploads(story, 55)
    assert not story.did(TakeOver)
    _uploads(story, 10)
    assert story.did(TakeOver)


def test_row_9_acknowledgements_that_stop_rising_hold_nothing_back(story: Story) -> None:
    """If acknowledgements rise for a moment and then stop, the successful control ends the old connection."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2).established("web")
    story.ahead["web"] = 1_000_000
    story.acked["web"] = 10_000
    story.due["web"] = 100.0
    story.ready("web")
    story.after(2)
    assert story.did(TakeOver)


def test_row_7_a_bounded_back_off_holds_no_control_back(story: Story) -> None:
    """If acknowledgements stop, a bounded back-off, with a retransmission always near, does not delay the control."""
    story.connected(scene=HOME)
    story.acked["web"] = 4_240
    story.after(60).network(HOME + OFFICE)
    for _ in range(28):
        story.due["web"] = story.t + 1.5
        story.after(0.25)
    assert any(isinstance(dial, Dial) and dial.purpose == "control" for dial in story.did(Dial))


def test_row_7_a_retransmission_that_comes_near_later_hides_no_wait(story: Story) -> None:
    """Once acknowledgements have stopped, the host shows what its control waits for, even near a retransmission."""
    story.connected("other", scene=HOME)
    story.connected(scene=HOME)
    story.after(60).ended("other", kind="died")
    story.fails("other", "dropped")  # no login to this server for 20 s
    story.acked["web"] = 4_240
    story.due["web"] = story.t + 4.5
    story.network(HOME, FLICKER)
    for _ in range(10):
        story.after(1)
        assert story.shown("web") == "waiting"


def test_row_4_a_connection_that_the_kernel_moved_has_the_new_path(story: Story) -> None:
    """A connection that the kernel moved to a new address is probed there, without a control."""
    story.connected(scene=HOME)
    story.moved["web"] = replace(story.living("web"), local="10.20.0.7", local_port=4711)
    story.after(60).network(CAFE)
    story.after(0.05).answered("web")
    story.after(5)
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 moved
                web: row 5 probe
            probe web pid=101
                web: row 5 wait
        60.050 probe of web answered
                web: row 6 keep
    """)
    assert story.living("web").local == "10.20.0.7"


def test_row_5_another_connection_of_the_transport_that_loses_its_address_is_a_doubt(story: Story) -> None:
    """A ProxyCommand's second connection may be the one that carries the master, so its address counts, too."""
    story.connected(scene=HOME + OFFICE, local="172.20.0.5", other_locals=frozenset({"192.168.10.2"}))
    story.after(60).network(OFFICE)
    assert story.did(SendProbe)
    assert not story.did(Dial)
    story.after(0.05).answered("web")
    story.after(60).network(HOME + OFFICE)
    story.after(0.05).answered("web")
    assert story.shown("web") == "connected"


def test_row_4_a_connection_between_two_addresses_gets_time_to_arrive(story: Story) -> None:
    """While the kernel shows no connection of a living process, a successful control does not end the master."""
    story.connected(scene=HOME)
    story.adrift.add("web")
    story.after(60).network(CAFE)
    story.after(0.3).established("web")
    story.ready("web")
    story.after(0.7)
    assert not story.did(TakeOver)
    story.adrift.clear()
    story.moved["web"] = replace(story.living("web"), local="10.20.0.7", local_port=4711)
    story.after(0.2).answered("web")
    story.after(5)
    assert not story.did(TakeOver)
    assert story.shown("web") == "connected"


def test_row_4_a_connection_that_stays_between_addresses_is_replaced(story: Story) -> None:
    """If the connection stays between two addresses, the successful control takes over after a few seconds."""
    story.connected(scene=HOME)
    story.adrift.add("web")
    story.after(60).network(CAFE)
    story.after(0.3).established("web")
    story.ready("web")
    story.after(4)
    assert story.did(TakeOver)


def test_row_5_a_changed_path_must_carry_large_packets(story: Story) -> None:
    """After a move, the probe has full-size packets. A probe because of `status` is small."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    assert [probe.large for probe in story.did(SendProbe) if isinstance(probe, SendProbe)] == [True]
    story.after(0.05).answered("web")
    story.after(60)
    story.post(UserViewedStatus(story.t))
    assert [probe.large for probe in story.did(SendProbe) if isinstance(probe, SendProbe)] == [True, False]


def test_a_report_from_before_a_probe_says_nothing_about_it(story: Story) -> None:
    """A kernel's report from before a probe does not count for that probe."""
    story.connected(scene=HOME)
    story.after(60).network(HOME, FLICKER)
    probe = story.host("web").doubt.probe
    assert probe is not None
    story.post(Observed(story.t, "web", story.living("web").pid, 900_000, probed_at=30.0), "late report")
    assert story.host("web").doubt.probe == probe


def test_row_4_a_master_that_datagrams_may_carry_is_probed(story: Story) -> None:
    """If the transport also holds a UDP socket, the loss of its TCP address proves nothing.

    An answer keeps the master.
    """
    story.connected(scene=HOME)
    story.moved["web"] = replace(story.living("web"), local=None, peer=None, direct=False, datagrams=True)
    story.after(60).network(CAFE)
    story.after(0.05).answered("web")
    story.after(5)
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 moved
                web: row 5 probe
            probe web pid=101
        60.050 probe of web answered
                web: row 6 keep
    """)


def test_row_8_datagrams_get_time_to_be_sent_again(story: Story) -> None:
    """No kernel knows when a QUIC connection sends again, so a successful control waits for 3 s."""
    story.connected(scene=HOME)
    story.moved["web"] = replace(story.living("web"), local=None, peer=None, direct=False, datagrams=True)
    story.after(60).network(CAFE)
    story.after(0.9).established("web")
    story.ready("web")
    story.after(1.9)
    assert not story.did(TakeOver)
    story.after(0.3)
    assert story.did(TakeOver)
