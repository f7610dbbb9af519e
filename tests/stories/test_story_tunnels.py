"""The underlay of tunnels: a tunnel's device, address and routes remain when its underlay is gone."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stories.scenes import HOME, VPN, Scene, lan, tunnel
from tests.stories.teller import Story
from trayagent.core.facts.actions import Dial, SendProbe

INNER = "10.99.0.10"
CABLE = lan(
    "a cable that leads nowhere", "eth0", "192.168.50.2/24", gateway="192.168.50.1", mac="", default=False
)
OUTER = tunnel("outer VPN", "tun1", "10.9.0.6/24", "10.77.0.0/24")
# A VPN that replaces the machine's default route.
VPN_DEFAULT = tunnel("VPN as default", "tun0", "10.8.0.6/24", "0.0.0.0/0")


def without_default(scene: Scene) -> Scene:
    """Return the scene after a VPN has replaced the default route."""
    return replace(scene, routes=tuple(r for r in scene.routes if not r.prefix.endswith("/0")))


def in_tunnel(story: Story, scene: Scene) -> None:
    """Connect `web` through tun0."""
    story.connected(scene=scene, server=INNER, local="10.8.0.6")


def test_a_cable_that_leads_nowhere_carries_no_tunnel(story: Story) -> None:
    """Without the Wi-Fi, a cable without a default route carries no tunnel, so the host is offline."""
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


def test_a_vpn_that_replaced_the_default_route_runs_over_what_had_it(story: Story) -> None:
    """A VPN that replaced the default route runs over the interface that had that route, not over the cable."""
    story.network(HOME + CABLE)
    in_tunnel(story, without_default(CABLE + HOME) + VPN_DEFAULT)
    assert story.shown("web") == "connected"
    story.after(60).network(CABLE + VPN_DEFAULT)
    assert story.shown("web") == "offline"


def test_another_tunnel_that_goes_throws_doubt_on_this_one(story: Story) -> None:
    """When another tunnel ends, this tunnel's masters are probed, because the other tunnel may have carried this one.

    No route shows that.
    """
    in_tunnel(story, HOME + OUTER + VPN)
    story.after(60).network(HOME + VPN)
    story.expect("""
        60.000 network: home + VPN
                web: row 0 suspect
                web: row 5 probe
            probe web pid=101
    """)
    assert story.shown("web") == "checking"


def test_a_tunnel_that_comes_or_goes_does_not_affect_a_master_outside(story: Story) -> None:
    """A tunnel that comes or goes causes no probe of a master outside tunnels."""
    story.connected(scene=HOME + OUTER)
    story.after(60).network(HOME)
    story.after(60).network(HOME + OUTER)
    assert not story.did(SendProbe)
