"""Changes of a master's path, and the identity of networks."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CABLE, CAFE, HOME, HOME_6, NOTHING, VPN, lan, tunnel
from tests.stories.teller import Story
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, SendProbe, TakeOver
from trayagent.core.facts.network import Touched


def test_an_ra_tick_is_no_change(story: Story) -> None:
    """A new privacy address, a refreshed lifetime and a deprecated address cause no probe."""
    story.connected(scene=HOME + HOME_6)
    story.after(60).network((HOME + HOME_6).with_address("wlan0", "2001:db8:10::99/64"))
    story.after(60).network((HOME + HOME_6).with_address("wlan0", "192.168.10.2/24", deprecated=True))
    story.expect("""
        60.000 network: home + home, IPv6, 2001:db8:10::99/64
        120.000 network: home + home, IPv6, 192.168.10.2/24 deprecated
    """)


def test_a_flicker_asks_the_master_once(story: Story) -> None:
    """An address that was removed and added again may hide another network, so it causes exactly one probe."""
    story.connected(scene=HOME)
    story.after(60).network(HOME, Touched(addresses=frozenset({"192.168.10.2"})))
    story.after(0.05).answered("web")
    story.expect("""
        60.000 network: home (192.168.10.2 flickered)
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
        60.050 probe of web answered
                web: row 6 keep
    """)


def test_another_gateway_behind_the_same_address_is_another_network(story: Story) -> None:
    """192.168.10.2 behind 192.168.10.1 is not home if the gateway has another link-layer address."""
    story.connected(scene=HOME)
    elsewhere = lan("elsewhere", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")
    story.after(60).network(elsewhere)
    story.expect("""
        60.000 network: elsewhere
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
    """)
    assert any(why.evidence.get("gateway") == "changed" for why in story.whys)


def test_a_gateway_not_yet_resolved_is_no_other_gateway(story: Story) -> None:
    """Nothing counts as changed while the gateway's link-layer address is unknown and then known again."""
    story.connected(scene=HOME)
    story.after(60).network(HOME.without_mac())
    story.after(1).network(HOME)
    story.expect("""
        60.000 network: home, gateway unresolved
        61.000 network: home
    """)


def test_a_name_that_comes_late_is_no_other_network(story: Story) -> None:
    """A network's name from NetworkManager, which arrives some moments after the address, is not a change."""
    story.connected(scene=HOME)
    named = lan("home", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="aa:01", name="Home WiFi")
    story.after(60).network(named)
    story.expect("60.000 network: home")
    assert len(story.host("web").reached.networks) == 1, "one place, however much is known of it"


def test_a_preferred_source_that_returns_raises_no_new_doubt(story: Story) -> None:
    """The master is probed once while a better source on the same route appears and disappears."""
    story.connected(scene=HOME)
    better = HOME.with_address("wlan0", "192.168.10.77/24")
    routes = tuple(
        r if r.prefix_len else r.__class__("0.0.0.0/0", "wlan0", r.gateway, "192.168.10.77")
        for r in better.routes
    )
    story.after(60).network(better.__class__("better source", better.interfaces, routes, better.macs))
    story.after(0.05).answered("web")
    story.forget()
    story.after(60).network(HOME)
    story.expect("120.050 network: home")


def test_a_tunnel_is_in_doubt_when_its_underlay_changed(story: Story) -> None:
    """A master in a tunnel is suspect when the Wi-Fi under the tunnel changes, and the control comes first.

    The tunnel's own route and address stay the same.
    """
    story.connected(scene=HOME + VPN, local="10.8.0.6", server="10.99.0.10")
    story.after(60).network(CAFE + VPN)
    story.expect("""
        60.000 network: café + VPN
                web: row 0 suspect
                web: row 3 control
                web: row 3 dial
            dial web #1 control
    """)


def test_a_new_privacy_address_raises_no_doubt_about_a_tunnel(story: Story) -> None:
    """A fresher privacy address changes nothing, because the tunnel keeps the address that it has."""
    here = HOME_6 + tunnel("VPN", "tun0", "10.8.0.6/24", "10.99.0.0/24")
    story.connected(scene=here, local="10.8.0.6", server="10.99.0.10")
    story.after(60).network(here.with_address("wlan0", "2001:db8:10::99/64", first=True))
    assert not story.did(Dial)
    assert not story.did(SendProbe)


def test_a_tunnel_is_in_doubt_when_the_wifi_under_it_roamed(story: Story) -> None:
    """A tunnel is suspect if only the underlay's gateway has another link-layer address: the tunnel may be dead."""
    story.connected(scene=HOME + VPN, local="10.8.0.6", server="10.99.0.10")
    elsewhere = lan("elsewhere", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")
    story.after(60).network(elsewhere + VPN)
    assert story.did(Dial), "the control comes first"


OWN, OTHER, SERVER_6 = "2001:db8:10::2", "2001:db8:10::99/64", "2001:db8:113::10"


def test_a_tentative_address_is_given_its_time_though_another_one_gets_through(story: Story) -> None:
    """After a flicker, the master is probed when its address is usable again, and lives.

    The kernel sends nothing from a tentative address for a second or two.
    """
    both = HOME_6.with_address("wlan0", OTHER)
    story.connected(scene=both, local=OWN, server=SERVER_6)
    still = both.with_address("wlan0", f"{OWN}/64", tentative=True).called("home, tentative")
    story.after(60).network(still, Touched(addresses=frozenset({OWN}), links=frozenset({"wlan0"})))
    story.after(1.8)
    assert story.shown("web") == "checking"
    story.network(both.called("home again"))
    story.after(0.05).answered("web")
    story.expect("""
        60.000 network: home, tentative (2001:db8:10::2 wlan0 flickered)
                web: row 0 suspect
        61.800 network: home again
                web: row 5 probe
            probe web pid=101
        61.850 probe of web answered
                web: row 6 keep
    """)


def test_a_probe_from_before_the_flicker_is_repeated_after_it(story: Story) -> None:
    """A probe from before the flicker was lost, so it is repeated. No control begins while the address is tentative."""
    both = HOME_6.with_address("wlan0", OTHER)
    story.connected(scene=both, local=OWN, server=SERVER_6)
    story.after(60).network(both, Touched(links=frozenset({"wlan0"})))
    still = both.with_address("wlan0", f"{OWN}/64", tentative=True).called("home, tentative")
    story.after(0.1).network(still, Touched(addresses=frozenset({OWN})))
    story.after(1.8).network(both)
    assert not story.did(Dial)
    assert len(story.did(SendProbe)) == 2


def test_an_address_that_stays_tentative_is_waited_for_no_longer_than_three_seconds(story: Story) -> None:
    """A master whose address stays tentative (a duplicate, refused by its network) is probed after three seconds."""
    both = HOME_6.with_address("wlan0", OTHER)
    story.connected(scene=both, local=OWN, server=SERVER_6)
    still = both.with_address("wlan0", f"{OWN}/64", tentative=True)
    story.after(60).network(still, Touched(addresses=frozenset({OWN})))
    story.after(2.9)
    assert not story.did(SendProbe)
    story.after(0.2)
    assert story.did(SendProbe)


def away_and_back(story: Story) -> None:
    """Go to the café and home again within a second. For a moment the home address is up in the café's network."""
    story.connected(scene=HOME)
    story.after(60).network(CAFE.with_address("wlan0", "192.168.10.2/24"))
    assert len(story.did(SendProbe)) == 1
    story.after(0.005).network(CAFE)
    story.after(0.9).network(HOME)
    story.forget()


def test_a_master_whose_path_returned_is_given_its_retransmission(story: Story) -> None:
    """After a return to the path, the old master gets time for its retransmission, because TCP backed off meanwhile."""
    away_and_back(story)
    story.due["web"] = story.t + 8
    story.after(0.5)
    assert len(story.did(Dial)) == 1
    story.after(0.3).ready("web")
    story.after(7.1)
    assert not story.did(TakeOver)
    story.after(0.15).answered("web")
    assert story.shown("web") == "connected"
    assert not story.did(TakeOver)


def test_a_path_returned_if_the_network_of_its_address_did(story: Story) -> None:
    """The path counts as returned when the Wi-Fi, which receives the answers, returns to its network."""
    elsewhere = lan("elsewhere", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")
    moved = Touched(links=frozenset({"wlan0"}))
    story.connected(scene=HOME)
    story.after(60).network(HOME + CABLE)
    story.after(0.05).answered("web")
    story.after(60).network(elsewhere + CABLE, moved)
    story.after(0.1).network(HOME + CABLE, moved)
    story.due["web"] = story.t + 8
    story.after(0.8).ready("web")
    story.after(5)
    assert not story.did(TakeOver)
    story.after(2.3).answered("web")
    assert story.shown("web") == "connected"


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_path_returns_again_although_the_probe_was_sent_on_it(story: Story, acknowledged: bool) -> None:
    """The laptop leaves home twice, and TCP backs off during the second stay.

    The probe is sent at home in between, or at the end because the first one was acknowledged.
    """
    elsewhere = lan("elsewhere", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")
    moved = Touched(links=frozenset({"wlan0"}))
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(1).network(HOME)
    assert len(story.did(SendProbe)) == 1
    story.after(0.1).network(elsewhere, moved)
    story.after(4).network(HOME, moved)
    if acknowledged:
        story.acked["web"] = 1
    story.forget()
    story.due["web"] = story.t + 8
    story.after(0.6).acked.clear()
    assert acknowledged == bool(story.did(SendProbe))
    story.after(0.6).ready("web")
    story.after(6.6)
    assert not story.did(TakeOver)
    story.after(0.3).answered("web")
    assert story.shown("web") == "connected"


def test_a_master_whose_path_returned_is_replaced_if_it_stays_silent(story: Story) -> None:
    """A silent master on a returned path gets time for one retransmission within ten seconds, not for the next one."""
    away_and_back(story)
    story.due["web"] = due = story.t + 8
    story.after(0.8).ready("web")
    story.after(due + 0.05 - story.t)
    story.due["web"] = story.t + 9
    assert not story.did(TakeOver)
    story.after(0.2)
    assert story.did(TakeOver)


def test_a_silent_master_leaves_the_path_on_which_it_lived(story: Story) -> None:
    """If only silence caused the doubt before the laptop left home, the master lived at home, and may return there."""
    elsewhere = lan("elsewhere", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")
    moved = Touched(links=frozenset({"wlan0"}))
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserViewedStatus(story.t))
    story.after(0.6)
    assert story.host("web").path_unchanged
    story.network(elsewhere, moved)
    story.after(4).network(HOME, moved)
    story.due["web"] = story.t + 8
    story.after(1).ready("web")
    assert not story.did(TakeOver)


@pytest.mark.parametrize(
    ("due_s", "used", "waits"), [(15, True, True), (15, False, False), (21, True, False)]
)
def test_a_used_master_whose_path_returned_gets_more_time(
    story: Story, due_s: float, used: bool, waits: bool
) -> None:
    """If a program uses the master, the wait may end 20 s after the return. It is for one retransmission only."""
    away_and_back(story)
    story.due["web"] = story.t + due_s
    if not used:
        story.unused.add("web")
    story.after(0.8).ready("web")
    assert bool(story.did(TakeOver)) != waits
    if waits:
        story.after(due_s - 0.9)
        assert not story.did(TakeOver)
        story.due["web"] = story.t + 3.5
        story.after(0.3)
        assert story.did(TakeOver)


def test_a_probe_that_was_lost_on_the_same_path_earns_no_longer_wait(story: Story) -> None:
    """If the path only flickered and the probe was lost on the same path, the master gets no extra time."""
    story.connected(scene=HOME)
    for _ in range(2):
        story.after(60 if not story.did(SendProbe) else 0.1)
        story.network(HOME, Touched(links=frozenset({"wlan0"})))
    story.due["web"] = story.t + 8
    story.after(0.8).ready("web")
    assert story.did(TakeOver)
