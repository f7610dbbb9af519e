"""What carries a tunnel: its device, address and routes stay when that is gone."""

from __future__ import annotations

from dataclasses import replace

from tests.stories.scenes import HOME, VPN, Scene, lan, tunnel
from tests.stories.teller import Story
from trayagent.core.facts.actions import Dial, SendProbe

INNER = "10.99.0.10"
CABLE = lan(
    "a cable that leads nowhere", "eth0", "192.168.50.2/24", gateway="192.168.50.1", mac="", default=False
)
OUTER = tunnel("outer VPN", "tun1", "10.9.0.6/24", "10.77.0.0/24")
# It takes the place of the machine's own default route.
VPN_DEFAULT = tunnel("VPN as default", "tun0", "10.8.0.6/24", "0.0.0.0/0")


def without_default(scene: Scene) -> Scene:
    """Return the scene as a VPN leaves it that puts itself in the default route's place."""
    return replace(scene, routes=tuple(r for r in scene.routes if not r.prefix.endswith("/0")))


def in_tunnel(story: Story, scene: Scene) -> None:
    """Connect `web` through tun0."""
    story.connected(scene=scene, server=INNER, local="10.8.0.6")


def test_a_cable_that_leads_nowhere_carries_no_tunnel(story: Story) -> None:
    """The Wi-Fi is gone, a cable without a default route is there: nothing is sent into the tunnel."""
    in_tunnel(story, HOME + VPN)
    story.after(60).network(VPN + CABLE)
    assert story.shown("web") == "offline"
    assert not story.did(SendProbe)
    assert not story.did(Dial)
    story.after(60).network(HOME + VPN + CABLE)
    assert story.shown("web") != "offline"


def test_a_network_without_a_gateway_carries_the_tunnel_that_came_up_on_it(story: Story) -> None:
    """A VPN whose server is in the same LAN needs no default route."""
    in_tunnel(story, without_default(HOME) + VPN)
    story.after(60).network(without_default(HOME) + VPN + CABLE)
    assert story.shown("web") != "offline"


def test_a_vpn_in_the_place_of_the_default_route_stands_on_what_had_it(story: Story) -> None:
    """The Wi-Fi's default route is gone while the VPN has one; the cable is not what carries it."""
    story.network(HOME + CABLE)
    in_tunnel(story, without_default(CABLE + HOME) + VPN_DEFAULT)
    assert story.shown("web") == "connected"
    story.after(60).network(CABLE + VPN_DEFAULT)
    assert story.shown("web") == "offline"


def test_another_tunnel_that_goes_throws_doubt_on_this_one(story: Story) -> None:
    """It may have been carried by that one, and no route tells: its masters are asked, and nothing is ended."""
    in_tunnel(story, HOME + OUTER + VPN)
    story.after(60).network(HOME + VPN)
    story.expect("""
        60.000 network: home + VPN
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
    """)
    assert story.shown("web") == "checking"


def test_a_tunnel_that_comes_or_goes_is_nothing_to_a_master_outside(story: Story) -> None:
    """Only tunnels are carried by tunnels."""
    story.connected(scene=HOME + OUTER)
    story.after(60).network(HOME)
    story.after(60).network(HOME + OUTER)
    assert not story.did(SendProbe)
