"""The policy's table, with at least one story for each row."""

from __future__ import annotations

import pytest

from tests.stories.scenes import (
    CAFE,
    DOCKER,
    HOME,
    NOTHING,
    OFFICE,
    UNADDRESSED,
    UNADDRESSED_VPN,
    VPN,
    VPN_ALL,
    Scene,
)
from tests.stories.teller import ALWAYS, LOCAL, ON_USE, Story
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, Kill, SendProbe, TakeOver
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.network import Touched


def test_row_1_an_always_host_that_ended_is_connected_again(story: Story) -> None:
    """Row 1: an "always" host is connected again, whatever ended its master."""
    story.connected(scene=HOME)
    story.after(60).ended("web")
    story.expect("""
        60.000 ended web pid=101
                web: row 1 ended
                web: row 1 dial
            dial web #1 connect
    """)


def test_row_1_ssh_o_exit_is_a_request_of_the_user(story: Story) -> None:
    """An "always" host that got `ssh -O exit` while nothing was suspect stays down until the user requests it."""
    story.connected(scene=HOME)
    story.after(60).ended("web", by_request=True)
    story.expect("""
        60.000 ended web pid=101
                web: row 1 ended
    """)
    assert story.shown("web") == "idle"
    assert story.host("web").user.held


def test_row_1_ssh_o_exit_soon_after_a_wake_is_a_request_once_the_master_answered(story: Story) -> None:
    """A master that answered after the wake is in no doubt any more, so `ssh -O exit` disconnects its host."""
    story.connected(scene=HOME)
    story.after(600).post(e.Woke(story.t), "woke")
    story.ready("web")
    story.after(0.1).answered("web")
    assert not story.host("web").suspect
    story.after(5).ended("web", by_request=True)
    assert story.host("web").user.held


def test_row_1_ssh_o_exit_before_the_master_answered_is_no_request(story: Story) -> None:
    """Scripts run `ssh -O exit` after a change of network to get a new connection."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.1).ended("web", by_request=True)
    assert not story.host("web").user.held
    assert story.did(Dial)


def test_row_1_an_exit_while_suspect_is_caused_by_the_network(story: Story) -> None:
    """If an on-use master exits while its path is suspect, the network is the cause, so it is recovered."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).network(HOME + OFFICE)
    story.after(0.1).ended("web")
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.100 ended web pid=101
                web: row 1 ended
                web: row 1 dial
            dial web #1 connect background
    """)


def test_row_1_a_master_that_control_persist_ended_stays_down(story: Story) -> None:
    """An on-use master that ends while nothing is suspect was unused, and stays down."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(600).ended("web")
    story.expect("""
        600.000 ended web pid=101
                web: row 1 ended
    """)
    assert story.shown("web") == "idle"


def test_row_2_without_a_path_nothing_is_done(story: Story) -> None:
    """Without a path there is no probe, no control and no kill."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.expect("""
        60.000 network: nothing
                web: row 0 suspect
                web: row 2 offline
    """)
    assert story.shown("web") == "offline"


def test_row_2_the_timer_counts_time_awake(story: Story) -> None:
    """After ten minutes without a network the master ends, but not in the minute after a wake."""
    story.connected(scene=HOME)
    story.after(60).network(HOME.down("wlan0"))
    story.after(590).post(e.Woke(story.t), "woke")
    story.after(59.9)
    story.expect("""
        60.000 network: home, wlan0 without carrier
                web: row 0 suspect
                web: row 2 offline
        650.000 woke
    """)
    story.after(0.2)
    story.expect("""
        710.000 the time came for web
                web: row 2 end
            kill web pid=101
    """)


def test_row_2_a_network_that_is_not_allowed_ends_no_master_with_a_route(story: Story) -> None:
    """`networks` forbids new logins here, but the connection that the user made here has its route."""
    story.connected(scene=HOME.named("Home"), wish=Wish(listed=True, connect="always", networks=("Work",)))
    story.after(60).network(HOME.named("Home").down("wlan0"))
    story.after(0.5).network(HOME.named("Home"))
    story.after(1200)
    assert not story.did(Kill)


def test_row_2_a_rule_of_the_kernel_may_route_only_the_master(story: Story) -> None:
    """A rule routes packets from the master's address. A new login has no route, but the quiet master is kept."""
    story.connected(scene=HOME)
    story.after(60).network(HOME.routed_from(LOCAL), Touched(links=frozenset({"wlan0"})))
    assert story.shown("web") == "offline"
    story.after(1200)
    assert not story.did(Kill)
    story.network(NOTHING)
    story.after(900)
    assert story.did(Kill)


def test_row_2_a_master_that_hears_from_its_server_is_not_offline(story: Story) -> None:
    """A rule of the kernel may route the connection although no table has a route. Data from the server shows that."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    for _ in range(3):
        story.heard["web"] = story.t + 300
        story.after(500)
    assert not story.did(Kill)
    story.after(900)
    assert story.did(Kill)


def test_row_2_its_own_network_in_time_keeps_it(story: Story) -> None:
    """If the address returns within ten minutes, one probe and its answer keep the connection."""
    story.connected(scene=HOME)
    story.after(60).network(HOME.down("wlan0"))
    story.after(500).network(HOME)
    story.after(0.05).answered("web")
    story.expect("""
        60.000 network: home, wlan0 without carrier
                web: row 0 suspect
                web: row 2 offline
        560.000 network: home
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        560.050 probe of web answered
                web: row 6 keep
    """)


def test_row_3_after_a_wake_the_control_goes_first(story: Story) -> None:
    """After a wake the control comes first.

    A probe before the network is usable would be lost and cost 35 s, but a control does no harm.
    """
    story.connected(scene=HOME)
    story.after(60).post(e.Woke(story.t, 3600.0), "woke")
    story.after(0.05).established("web")
    story.after(0.05).answered("web")
    story.expect("""
        60.000 woke
                web: row 3 control
                web: row 3 dial
            dial web #1 control
        60.050 attempt of web established
                web: row 5 probe
            probe web pid=101
        60.100 probe of web answered
                web: row 6 keep
            abort web #1
    """)


def test_row_3_the_second_probe_has_time_for_its_answer(story: Story) -> None:
    """After a wake the control may be ready before the second probe is sent. That probe gets two round trips.

    A sentinel that hangs on the server is no reason to end a connection.
    """
    story.connected(scene=HOME)
    story.after(60).post(e.Woke(story.t, 3600.0), "woke")
    story.after(0.01).established("web")
    story.after(0.1).ready("web")
    story.after(0.45)
    assert [x for x in story.did(SendProbe) if isinstance(x, SendProbe) and x.second]
    assert not story.did(TakeOver)
    story.after(0.05).answered("web")
    assert story.shown("web") == "connected"
    assert not story.did(TakeOver)


def test_row_4_its_address_gone_the_control_goes_at_once(story: Story) -> None:
    """From home to the café, the control begins with the first event and takes over when it is ready."""
    story.connected(scene=HOME)
    story.after(60).network(CAFE)
    story.after(0.82).ready("web")
    story.after(0.01).took_over("web")
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.820 attempt of web ready pid=102
                web: row 9 replace
            take over web #1 pid=102 old=101
        60.830 took over web pid=102
                web: row 0 connected
            ensure forwards web
    """)
    assert story.shown("web") == "connected"


def test_row_4_an_interface_may_get_its_address_again(story: Story) -> None:
    """DHCP takes 1.5 s while a second network is up. The master is kept, although its control succeeded at once."""
    story.connected(scene=HOME + OFFICE)
    story.after(60).network(UNADDRESSED + OFFICE)
    story.after(0.6).ready("web", local="172.20.0.5")
    story.after(0.9).network(HOME + OFFICE)
    story.after(0.1).answered("web")
    story.after(10)
    story.expect("""
        60.000 network: wlan0 without an address + office
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.600 attempt of web ready pid=102
                web: row 4 wait
        61.500 network: home + office
                web: row 0 suspect
                web: row 5 probe
            discard web pid=102
            probe web pid=101
        61.600 probe of web answered
                web: row 6 keep
    """)


def test_row_4_an_interface_that_gets_no_address_is_not_awaited_long(story: Story) -> None:
    """After 4 s the master is stale."""
    story.connected(scene=HOME + OFFICE)
    story.after(60).network(UNADDRESSED + OFFICE)
    story.after(0.6).ready("web", local="172.20.0.5")
    story.after(3.3)
    assert not story.did(TakeOver)
    story.after(0.2)
    assert story.did(TakeOver)


def test_row_4_another_address_on_the_interface_ends_the_wait(story: Story) -> None:
    """The old address does not return to an interface that has another one."""
    story.connected(scene=HOME + OFFICE)
    story.after(60).network(UNADDRESSED + OFFICE)
    story.after(0.6).ready("web", local="172.20.0.5")
    story.after(0.1).network(CAFE + OFFICE)
    assert story.did(TakeOver)


@pytest.mark.parametrize(
    ("before", "local", "after"),
    [
        (HOME + OFFICE, "192.168.10.2", UNADDRESSED.down("wlan0") + OFFICE),
        (OFFICE + VPN_ALL, "10.8.0.6", OFFICE + UNADDRESSED_VPN),
    ],
)
def test_row_4_an_unplugged_cable_and_a_tunnel_get_no_such_wait(
    story: Story, before: Scene, local: str, after: Scene
) -> None:
    """Without a link no address returns soon, and a new session of a VPN has another address."""
    story.connected(scene=before, local=local)
    story.after(60).network(after)
    story.after(0.6).ready("web", local="172.20.0.5")
    assert story.did(TakeOver)


def test_row_4_an_address_may_flicker_for_a_quarter_second(story: Story) -> None:
    """If the address returns within 250 ms, the old master is probed and not killed, even after a fast control."""
    story.connected(scene=HOME + OFFICE)
    story.after(60).network(OFFICE)
    story.after(0.1).ready("web", local="172.20.0.5")
    story.after(0.1).network(HOME + OFFICE)
    story.after(0.1).answered("web")
    story.after(10)
    story.expect("""
        60.000 network: office
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.100 attempt of web ready pid=102
                web: row 4 wait
        60.200 network: home + office
                web: row 0 suspect
                web: row 5 probe
            discard web pid=102
            probe web pid=101
        60.300 probe of web answered
                web: row 6 keep
    """)
    assert not story.did(Kill)


def test_rows_5_and_6_a_changed_path_is_probed_once(story: Story) -> None:
    """A cable beside the Wi-Fi causes one probe. After its answer, later events cause none."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.network((HOME + OFFICE) + DOCKER)
    story.after(0.05).answered("web")
    story.after(60)
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.000 network: home + office + docker
                web: row 5 wait
        60.050 probe of web answered
                web: row 6 keep
    """)
    assert len(story.did(SendProbe)) == 1


def test_row_6_an_acknowledgement_is_no_answer_but_gives_it_time(story: Story) -> None:
    """If all bytes are acknowledged, the server may only be slow, so there is no control for a minute."""
    story.connected(scene=HOME)
    story.acked["web"] = 40
    story.after(60).network(HOME + OFFICE)
    assert story.shown("web") == "checking"
    story.after(59)
    assert story.shown("web") == "checking"
    story.answered("web")
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
            second probe web pid=101
        119.000 probe of web answered
                web: row 6 keep
    """)


def test_row_6_acknowledgements_alone_lead_to_a_control_after_a_minute(story: Story) -> None:
    """A proxy on the path may acknowledge for a dead server. So without an answer, a control decides after a minute."""
    story.connected(scene=HOME)
    story.acked["web"] = 40
    story.after(60).network(HOME + OFFICE)
    story.after(61)
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
            second probe web pid=101
        120.150 the time came for web
                web: row 7 control
                web: row 7 dial
            dial web #1 control
    """)


def test_row_6_a_probe_that_arrived_before_the_doubt_is_repeated(story: Story) -> None:
    """The server acknowledged the probe before the change, so a new probe must send new bytes."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.1).network(HOME)
    story.acked["web"] = 40
    story.after(0.6)
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.100 network: home
                web: row 0 suspect
        60.600 the time came for web
                web: row 5 probe
            probe web pid=101
    """)


def test_row_6_at_most_five_aborts_then_the_control_may_finish(story: Story) -> None:
    """Servers penalize cut-off handshakes, so the sixth control may finish, and its master is discarded."""
    story.connected(scene=HOME, wish=ALWAYS, user="web")
    for name in "bcdef":
        story.connected(name, user=name)
    story.after(60).network(HOME + OFFICE)
    story.after(0.3)
    for name in ("web", *"bcdef"):
        story.established(name)
    story.forget()
    for name in ("web", *"bcdef"):
        story.answered(name)
    story.expect("""
        60.300 probe of web answered
                web: row 6 keep
            abort web #6
        60.300 probe of b answered
                b: row 6 keep
            abort b #7
        60.300 probe of c answered
                c: row 6 keep
            abort c #8
        60.300 probe of d answered
                d: row 6 keep
            abort d #9
        60.300 probe of e answered
                e: row 6 keep
            abort e #10
        60.300 probe of f answered
                f: row 6 keep
    """)
    story.after(1).ready("f")
    story.expect("""
        61.300 attempt of f ready pid=107
            discard f pid=107
    """)


def test_row_7_silence_starts_a_control_and_keeps_the_old(story: Story) -> None:
    """If a new connection would have another source address, 150 ms of silence start a control. The old one is kept."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2)
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
    """)
    assert story.shown("web") == "checking"


def test_row_7_with_the_same_source_half_a_second_is_waited(story: Story) -> None:
    """With the same source address, the control waits half a second, so that one retransmission is possible."""
    story.connected(scene=HOME)
    again = HOME.called("home, another route")
    story.after(60).network(
        again.__class__(again.label, again.interfaces, again.routes, (("wlan0", "192.168.10.1", "bb:02"),))
    )
    story.after(0.49)
    assert not story.did(Dial)
    story.after(0.02)
    story.expect("""
        60.000 network: home, another route
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.500 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
    """)


def test_row_8_a_retransmission_that_is_due_soon_is_waited_for(story: Story) -> None:
    """A master whose retransmission is due within 3 s gets that chance after the control succeeded, and answers."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.due["web"] = 62.5
    story.after(1.0).ready("web", local="172.20.0.5")
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
        61.000 attempt of web ready pid=102
                web: row 8 grace
    """)
    story.after(1.55).answered("web")
    story.expect("""
        62.550 probe of web answered
                web: row 6 keep
            discard web pid=102
    """)


def test_row_8_patience_begins_at_the_later_doubt(story: Story) -> None:
    """The time to wait counts from the wake, not from the earlier probe, even if the control is quick."""
    # behind a jump host, because acknowledgements prove nothing there
    story.connected(scene=HOME, direct=False)
    story.after(60).network(HOME, Touched(links=frozenset({"wlan0"})))
    story.after(0.4).post(e.Woke(story.t), "woke")
    story.after(0.02).established("web")
    story.after(0.18).ready("web")
    story.expect("""
        60.000 network: home (wlan0 flickered)
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.400 woke
                web: row 3 control
                web: row 3 dial
            dial web #1 control
        60.420 attempt of web established
                web: row 5 wait
        60.600 attempt of web ready pid=102
                web: row 8 grace
    """)
    story.after(0.25)
    assert not story.did(TakeOver), "killed half a second after the probe, a quarter after the wake"
    story.answered("web")
    story.expect("""
        60.850 probe of web answered
                web: row 6 keep
            discard web pid=102
    """)


def test_row_8_a_retransmission_that_has_come_near_is_waited_for_once(story: Story) -> None:
    """A retransmission that comes near only at the end of the grace is waited for once."""
    story.connected(scene=HOME, min_rtt_s=0.5)  # the grace of 4 round trips ends at 62.0
    story.after(60).network(HOME + OFFICE)
    story.due["web"] = 64.2
    story.after(1.1).ready("web", local="172.20.0.5")  # 3.1 s before the retransmission
    story.after(0.95)
    assert not story.did(TakeOver)
    story.due["web"] = 66.0  # the retransmission got no answer, and the next one is near, too
    story.after(64.2 + 1.0 - story.t - 0.01)
    assert not story.did(TakeOver)
    story.after(0.02)
    assert story.did(TakeOver)


def test_row_9_still_silent_the_new_one_takes_over(story: Story) -> None:
    """An unanswered retransmission proves that the old master is dead, and the new one takes over."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.due["web"] = 62.5
    story.after(1.0).ready("web", local="172.20.0.5")
    story.after(5).took_over("web")
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
        61.000 attempt of web ready pid=102
                web: row 8 grace
        62.600 the time came for web
                web: row 9 replace
            take over web #1 pid=102 old=101
        66.000 took over web pid=102
                web: row 0 connected
            ensure forwards web
    """)


def test_row_9_a_refused_login_is_a_positive_control(story: Story) -> None:
    """A refused login by the right server proves the old master dead, and the user must sign in."""
    story.connected(scene=HOME)
    story.after(60).network(CAFE)
    story.after(0.5).fails("web", "auth", positive=True)
    story.ended("web")
    story.after(3600)
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.500 attempt of web failed: auth positive
                web: row 0 failed
                web: row 9 kill
            kill web pid=101
        60.500 ended web pid=101
    """)
    assert story.shown("web") == "needs-sign-in"


def test_row_10_a_negative_control_kills_nothing(story: Story) -> None:
    """If the control fails, the old master stays, and the control is repeated after growing pauses."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2).fails("web", "timed-out")
    story.after(1.0).fails("web", "timed-out")
    story.after(1.9)
    story.expect("""
        60.000 network: home + office
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.150 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
        60.200 attempt of web failed: timed-out
                web: row 10 failed
        61.200 the time came for web
                web: row 7 control
                web: row 7 dial
            dial web #2 control
        61.200 attempt of web failed: timed-out
                web: row 10 failed
    """)
    story.after(0.2)
    story.expect("""
        63.200 the time came for web
                web: row 7 control
                web: row 7 dial
            dial web #3 control
    """)
    assert not story.did(Kill)


def test_row_10_another_key_on_a_new_network_is_not_here(story: Story) -> None:
    """Another machine at the same private address in a café ends no master and causes no alarm."""
    story.connected(scene=HOME)
    story.after(60).network(CAFE)
    story.after(0.3).fails("web", "host-key-changed")
    story.after(3600)
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 dial
            dial web #1 control
        60.300 attempt of web failed: host-key-changed
                web: row 10 failed
    """)
    assert story.shown("web") == "offline"
    assert story.problem("web") == "not-here"


def test_row_11_an_unnamed_master_is_killed_when_stale_and_never_started(story: Story) -> None:
    """A bare control proves an unnamed master (Ansible's) stale.

    The agent kills it, and makes no login to replace it.
    """
    story.connected(scene=HOME)
    story.found("deploy@db:22", unnamed=True)
    story.after(60).network(CAFE)
    story.established("deploy@db:22")
    story.after(0.1).ready("deploy@db:22", bare=True)
    story.after(0.2)
    story.ended("deploy@db:22")
    story.after(3600)
    assert not story.did(Dial, "deploy@db:22")
    assert len(story.did(Kill, "deploy@db:22")) == 1
    assert "deploy@db:22" not in story.state.hosts


def test_row_12_keep_alive_found_it_dead(story: Story) -> None:
    """Row 12: if ssh's keep-alive ends an on-use master, the network was the cause, so it is recovered."""
    story.connected(scene=HOME, wish=ON_USE)
    story.after(60).ended("web", kind="timed-out")
    story.expect("""
        60.000 ended web pid=101
                web: row 1 ended
                web: row 1 dial
            dial web #1 connect background
    """)


def test_row_12_status_finds_it_silent(story: Story) -> None:
    """`status` probes a master whose last proof of life is old. If it is silent, a control follows."""
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserViewedStatus(story.t), "the user looks")
    story.after(0.6)
    story.expect("""
        60.000 the user looks
            probe web pid=101
        60.500 the time came for web
                web: row 7 second probe
                web: row 7 control
                web: row 7 dial
            second probe web pid=101
            dial web #1 control
    """)
    story.after(0.8).ready("web")
    story.after(0.1).took_over("web")
    story.expect("""
        61.400 attempt of web ready pid=102
                web: row 8 grace
                web: row 9 replace
            take over web #1 pid=102 old=101
        61.500 took over web pid=102
                web: row 0 connected
            ensure forwards web
    """)


def test_a_user_who_looks_at_a_fresh_proof_causes_no_probe(story: Story) -> None:
    """`status` probes no master with a fresh proof of life, so `watch trayagent status` does not become a heartbeat."""
    story.connected(scene=HOME)
    for _ in range(20):
        story.after(1).post(user_events.UserViewedStatus(story.t), "the user looks")
    assert not story.did(SendProbe)


def test_a_probe_asked_before_the_doubt_proves_nothing(story: Story) -> None:
    """The answer to a probe from before the change of path may be read after it, so the probe is repeated."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.04).network(HOME + OFFICE + VPN_ALL)
    story.answered("web")
    assert story.host("web").suspect
    assert len(story.did(SendProbe)) == 2


def test_a_late_answer_to_an_old_probe_proves_life(story: Story) -> None:
    """A probe that was sent before the suspicion and is answered later, after a retransmission, proves life."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.1).network(HOME + OFFICE + VPN_ALL)
    story.after(2).answered("web")
    assert not story.host("web").suspect


def test_a_master_outside_a_vpn_is_not_probed_when_the_vpn_comes_up(story: Story) -> None:
    """A VPN that comes up with other routes causes no probe of a master outside it."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + VPN)
    story.expect("60.000 network: home + VPN")
