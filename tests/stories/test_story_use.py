"""A connection that was lost without an event of the kernel is found while it is used."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, ON_USE, Story
from trayagent.core.facts.actions import Dial, Kill, SendProbe, TakeOver
from trayagent.core.facts.events import ForwardsChanged, MasterFound, MasterUsed
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState
from trayagent.core.facts.time_constants import GRACES_LOSSY, HEARD_UNCHANGED_PATH_S, STALLS_PER_WINDOW
from trayagent.core.facts.user_events import UserViewedStatus

NEXT_S = 2.0  # with the bounded back-off, the kernel sends again this often


def used(story: Story, *, stalled: bool = False) -> None:
    """Report that the host's master is used, and whether its data gets no acknowledgement."""
    story.post(MasterUsed(story.t, "web", story.living("web").pid, stalled), "used" + " stalled" * stalled)


def silent_for(story: Story, seconds: float) -> None:
    """Let time pass. The kernel repeats the data every NEXT_S and gets no acknowledgement."""
    until = story.t + seconds
    while story.t < until:
        if story.due.get("web", 0.0) <= story.t:
            story.due["web"] = story.t + NEXT_S
        story.after(0.1)


def test_row_12_the_first_use_probes_the_master(story: Story) -> None:
    """A master that is used after a quiet time is probed once. If it answers, nothing else happens."""
    story.connected(scene=HOME)
    story.after(5)
    used(story)
    story.after(0.05).answered("web")
    story.after(60)
    story.expect("""
        5.000 used
            probe web pid=101
        5.050 probe of web answered
    """)
    assert story.shown("web") == "connected"


def test_an_exit_right_after_a_use_is_a_disconnect(story: Story) -> None:
    """`ssh HOST true` makes the agent probe the master. `ssh -O exit` before the answer still disconnects the host."""
    story.connected(scene=HOME)
    story.after(5)
    used(story)
    story.after(0.01).ended("web", by_request=True)
    story.after(60)
    assert not story.did(Dial)
    assert story.host("web").user.held


def test_an_exit_typed_after_a_quiet_time_is_no_loss(story: Story) -> None:
    """The keys of `exit` make the agent probe the master. If ssh then ends in order, the host stays down."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(5)
    used(story)
    story.after(0.01).ended("web", in_order=True)
    story.after(60)
    assert not story.did(Dial)
    assert story.shown("web") == "idle"


def test_a_reset_at_the_first_use_is_a_loss(story: Story) -> None:
    """If a master without a log ends at its first use, and not in order, its connection was lost."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(5)
    used(story)
    story.after(0.01).ended("web")
    assert story.did(Dial)


def test_row_12_data_without_an_acknowledgement_starts_a_probe_and_a_control(story: Story) -> None:
    """If data gets no acknowledgement, the master is probed. If it stays silent after the control, it is replaced."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    silent_for(story, 0.6)
    story.expect("""
        5.000 used stalled
                web: row 12 probe
            probe web pid=101
        5.500 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
    """)
    silent_for(story, 0.4)
    story.ready("web")
    silent_for(story, NEXT_S)
    assert not story.did(TakeOver)  # it may answer the next packet
    silent_for(story, NEXT_S + 0.5)
    assert story.did(TakeOver)


def test_a_stall_without_a_control_ends_nothing(story: Story) -> None:
    """In a hole in which every packet is lost, each control fails, and the master lives."""
    story.connected(scene=HOME)
    story.after(5)
    for _ in range(24):
        used(story, stalled=True)
        silent_for(story, 5)
        if story.host("web").attempt is not None:
            story.fails("web", "timed-out")
    assert story.did(Dial)
    assert not story.did(Kill)
    story.answered("web")
    assert story.shown("web") == "connected"


def test_a_master_whose_backoff_is_long_may_speak_after_the_hole(story: Story) -> None:
    """The kernel of a user's own master waits ever longer in a hole. After the hole it may speak much later."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    story.due["web"] = story.t + 40
    story.after(20)
    while story.host("web").attempt is None:
        story.after(1)
    story.ready("web")
    story.after(story.due["web"] - story.t)
    assert not story.did(TakeOver)
    story.answered("web")
    story.after(60)
    assert not story.did(TakeOver)
    assert not story.did(Kill)


def test_a_master_without_sessions_is_not_worth_a_long_wait(story: Story) -> None:
    """If no program uses the master, the control replaces it, because nothing is lost."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    story.due["web"] = story.t + 40
    story.unused.add("web")
    while story.host("web").attempt is None:
        story.after(0.1)
    story.ready("web")
    story.after(1)
    assert story.did(TakeOver)


def test_a_master_that_stays_silent_after_a_long_backoff_is_replaced(story: Story) -> None:
    """Two retransmissions without an answer, while the control works, prove that the master is stale."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    story.due["web"] = story.t + 20
    while story.host("web").attempt is None:
        story.after(0.1)
    story.ready("web")
    story.after(story.due["web"] - story.t + 0.05)
    story.due["web"] = story.t + 39
    story.after(30)
    assert not story.did(TakeOver)
    story.after(10)
    assert story.did(TakeOver)


def test_a_control_that_lost_packets_gives_the_master_more_time(story: Story) -> None:
    """On a line that loses packets, two of them in a row are no proof. The master may miss many before it ends."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    silent_for(story, 1)
    story.ready("web", lossy=True)
    silent_for(story, (GRACES_LOSSY - 1) * NEXT_S)
    assert not story.did(TakeOver)
    story.answered("web")
    silent_for(story, 60)
    assert not story.did(TakeOver)


def test_a_line_that_stalls_again_and_again_replaces_few_masters(story: Story) -> None:
    """After three replacements in five minutes, stalls alone start no more probes."""
    story.connected(scene=HOME)
    for _ in range(STALLS_PER_WINDOW + 1):
        used(story, stalled=True)
        silent_for(story, 1)
        if story.host("web").attempt is not None:
            story.ready("web")
            silent_for(story, 3 * NEXT_S)
            story.took_over("web")
    story.forget()
    used(story, stalled=True)
    assert not story.did(SendProbe)
    story.after(300)
    used(story, stalled=True)
    assert story.did(SendProbe)


def test_a_change_of_network_needs_only_one_retransmission(story: Story) -> None:
    """After a change of network, a master that is used is judged as before."""
    story.connected(scene=HOME)
    story.after(5)
    used(story)
    story.after(0.1).network(CAFE)
    silent_for(story, 1)
    story.ready("web")
    silent_for(story, 1)
    assert story.did(TakeOver)


@pytest.mark.parametrize("refused", [False, True])
def test_row_12_a_remote_forward_without_an_answer_starts_a_probe(story: Story, refused: bool) -> None:
    """If the server does not answer the request for a remote forward, the master is probed. A refusal is an answer."""
    master = story.connected(scene=HOME)
    failed = ForwardState(parse("remote", "22221:localhost:22"), "failed", None, "it failed", refused=refused)
    story.after(5).post(ForwardsChanged(story.t, "web", master.pid, (failed,)))
    assert len(story.did(SendProbe)) == (0 if refused else 1)


def test_hosts_in_use_are_connected_first(story: Story) -> None:
    """After a move, the hosts that their user uses get the first places at a server, the last used one the very first.

    A jump host of a used host counts as used, too.
    """
    names = [f"web{number}" for number in range(9)]
    for name in names:
        story.connected(name, scene=HOME, wish=ALWAYS, user=name)
    story.resolved("web7", user="web7", jump="web8")
    for name in ("web6", "web7"):
        story.after(60).post(MasterUsed(story.t, name, story.living(name).pid), "used")
        story.after(0.05).answered(name)
    story.after(60).network(CAFE)
    attempts = {name: story.host(name).attempt for name in names}
    begun = sorted((attempt.id, name) for name, attempt in attempts.items() if attempt is not None)
    assert [name for _, name in begun] == ["web8", "web6", "web0", "web1", "web2", "web3"]


def test_a_download_that_delays_the_answer_is_no_silence(story: Story) -> None:
    """On a slow line the answer waits in the server's queue behind a download. While data comes, nothing is ended."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    for _ in range(1500):
        story.after(0.1)
        story.heard["web"] = story.t
        if (attempt := story.host("web").attempt) is not None and attempt.ready is None:
            story.ready("web")
    assert not story.did(TakeOver)
    story.after(HEARD_UNCHANGED_PATH_S + 1)
    if story.host("web").attempt is None:
        story.after(1)
    if (attempt := story.host("web").attempt) is not None and attempt.ready is None:
        story.ready("web")
    story.after(1)
    assert story.did(TakeOver)


def test_a_download_may_pause_on_a_shared_line(story: Story) -> None:
    """Flows that share a slow line make each other pause. A pause of some 20 s in a download ends nothing."""
    story.connected(scene=HOME)
    story.after(5)
    used(story, stalled=True)
    for _ in range(6):
        story.after(0.1)
        story.heard["web"] = story.t
        for _ in range(20):
            story.after(1)
            if (attempt := story.host("web").attempt) is not None and attempt.ready is None:
                story.ready("web")
    assert not story.did(TakeOver)


def test_an_ssh_in_a_terminal_is_probed_only_for_a_reason(story: Story) -> None:
    """Its user would see the refused forward of a probe. Neither the first use nor `status` is a reason, a stall is."""
    story.connected(scene=HOME)
    shown = replace(story.living("web"), pid=300, started_by_agent=False, prints=True)
    story.post(MasterFound(story.t, "web", shown, fresh=True), "found")
    story.after(60).forget()
    used(story)
    story.post(UserViewedStatus(story.t, ("web",)), "viewed")
    assert not [x for x in story.actions if isinstance(x, SendProbe)]
    used(story, stalled=True)
    assert [x for x in story.actions if isinstance(x, SendProbe)]
