"""A network whose gateway is not resolved yet: the agent waits for its identity, with a few readings."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CABLE, CAFE, HOME, NOTHING, VPN, lan
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, Story
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, Kill, ReadNetwork, SendProbe
from trayagent.core.facts.network import Touched
from trayagent.core.facts.time_constants import READ_AGAIN_S

NAS = "192.168.10.50"
FLICKER = Touched(links=frozenset({"wlan0"}))
TWIN = lan("twin", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")


def test_a_host_waits_only_until_the_gateway_is_resolved(story: Story) -> None:
    """After a flap the gateway is not resolved yet. The agent sends nothing, and reads the network again soon."""
    story.connected("nas", scene=HOME, server=NAS, strict="no")
    story.after(60).network(HOME.without_mac(), FLICKER)
    assert story.shown("nas") == "offline"
    story.scene = HOME  # the kernel resolves the gateway, and reports nothing
    story.after(0.3)
    story.expect("""
        60.000 network: home, gateway unresolved (wlan0 flickered)
                nas: row 0 suspect
                nas: row 2 offline
        60.300 the time came for nas
                nas: row 5 probe
            probe nas pid=101
    """)


def test_a_gateway_that_stays_unresolved_costs_a_few_readings_and_no_master(story: Story) -> None:
    """The readings come to an end, and the master outlives `keep_while_offline`. Any event causes one more reading."""
    story.connected("nas", scene=HOME, server=NAS, strict="no")
    story.after(60).network(HOME.without_mac(), FLICKER)
    story.after(3600)
    at_end_of_offline_timer = 1
    assert len(story.did(ReadNetwork, "nas")) == len(READ_AGAIN_S) + at_end_of_offline_timer
    assert not story.did(SendProbe, "nas")
    assert not story.did(Kill, "nas")
    story.scene = HOME
    story.post(user_events.UserViewedStatus(story.t), "status")
    assert len(story.did(SendProbe, "nas")) == 1


def test_a_master_that_ends_before_its_network_is_identified_is_replaced(story: Story) -> None:
    """Its end causes a reading. By then the gateway is resolved, and the host was reached here before."""
    story.connected("nas", ON_USE, HOME, server=NAS, strict="no")
    story.after(60).network(HOME.without_mac(), FLICKER)
    story.after(100)
    story.scene = HOME
    story.ended("nas", kind="died")
    assert len(story.did(Dial, "nas")) == 1


def test_another_network_with_the_addresses_of_home_stays_another_network(story: Story) -> None:
    """Once the gateway proves to be another one, the agent sends nothing and no longer reads the network again."""
    story.connected("nas", scene=HOME, server=NAS, strict="no")
    story.after(60).network(TWIN.without_mac(), FLICKER)
    story.scene = TWIN
    story.after(300)
    assert len(story.did(ReadNetwork, "nas")) == 1
    assert not story.did(SendProbe, "nas")
    assert not story.did(Dial, "nas")


def test_the_network_of_an_adopted_master_is_recorded_once_its_gateway_is_resolved(story: Story) -> None:
    """The agent starts before the gateway is resolved. Soon it knows that the host was reached from this network."""
    story.connected("nas", scene=HOME.without_mac(), server=NAS, strict="no")
    assert not story.host("nas").reached.networks
    story.scene = HOME
    story.after(60)
    assert {network.gateway for network in story.host("nas").reached.networks} == {"aa:01"}
    assert len(story.did(ReadNetwork, "nas")) == 1


def test_a_learned_vpn_does_not_hold_where_the_host_was_reached_directly_before_a_flap(story: Story) -> None:
    """The host was reached on the own network without its VPN. After a flap there, it is connected without the VPN."""
    internal = "10.99.0.10"
    story.connected("db", scene=HOME, server="db.corp", peer=internal)
    story.network(HOME)
    story.ended("db", kind="died")
    story.network(CAFE + VPN)
    story.reconnected("db", peer=internal, local="10.8.0.6")
    assert story.host("db").reached.learned_vpn == "tun0"
    story.forget()
    story.after(60).network(HOME.without_mac(), FLICKER)
    assert not story.did(Dial, "db")
    story.scene = HOME
    story.after(0.3)
    assert len(story.did(Dial, "db")) == 1


@pytest.mark.parametrize("reached", [True, False])
def test_a_login_on_an_unidentified_network_makes_the_key_known(story: Story, reached: bool) -> None:
    """With accept-new, ssh stored the key at the login, so the host needs no network where it was reached before.

    The next agent reads the key in known_hosts.
    """
    if reached:
        story.connected("nas", scene=CABLE.without_mac(), server=NAS, strict="accept-new")
        story.after(60).network(NOTHING)
        story.ended("nas", kind="died")
    else:
        story.known_keys["nas"] = [HOST_KEY]
        story.configured(nas=ALWAYS)
        story.resolved("nas", server=NAS, strict="accept-new")
        story.started()
    before = len(story.did(Dial, "nas"))
    story.network(HOME)
    assert len(story.did(Dial, "nas")) == before + 1
