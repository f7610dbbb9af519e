"""Learned VPNs: when a VPN is learned, when it is forgotten, and which hosts it never blocks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, CAFE_2, HOME, NOTHING, OFFICE, VPN, VPN_ALL, Scene, tunnel
from tests.stories.teller import ALWAYS, SERVER, Story
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Abort, Dial
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.network import Network
from trayagent.core.facts.resolved import HostKeyChecking

INTERNAL = "10.99.0.10"
PUBLIC = SERVER
NARROW = tunnel("VPN with a route to one public network", "tun0", "10.8.0.6/24", "203.0.113.0/24")
VPN_2 = tunnel("the VPN with another address", "tun0", "10.8.0.7/24", "10.99.0.0/24")
OTHER_VPN = tunnel("another VPN for everything", "tun1", "10.66.0.6/24", "0.0.0.0/0")


def dialled(story: Story, name: str = "db") -> int:
    """Return the number of logins so far."""
    return len(story.did(Dial, name))


def behind(
    story: Story, scene: Scene = HOME + VPN, server: str = INTERNAL, strict: HostKeyChecking = "ask"
) -> None:
    """Begin with `db`, a name that is connected through the VPN."""
    story.connected("db", scene=scene, server="db.corp", strict=strict, peer=server, local="10.8.0.6")
    story.network(scene)  # from now on the address and its route are known
    story.forget()


def test_a_vpn_is_learned_and_each_network_gets_one_attempt(story: Story) -> None:
    """Without the VPN, each new network gets one login, because the host may be reachable there.

    Then the host waits.
    """
    behind(story)
    assert story.host("db").reached.learned_vpn == "tun0"
    story.after(60).network(CAFE)
    assert dialled(story) == 1
    story.after(10).fails("db", "timed-out")
    assert story.shown("db") == "needs-vpn"
    story.after(300).network(HOME)
    story.after(10).fails("db", "timed-out")
    story.network(CAFE)
    story.after(300)
    assert dialled(story) == 2
    story.network(CAFE_2)
    assert dialled(story) == 3


def test_a_reconnect_by_the_user_is_the_networks_one_attempt(story: Story) -> None:
    """If the user's own login without the VPN fails, the agent makes none of its own on that network."""
    behind(story)
    story.after(60).network(CAFE)
    story.post(user_events.UserReconnect(story.t, ("db",)))
    story.after(10).fails("db", "timed-out")
    assert (story.shown("db"), dialled(story)) == ("needs-vpn", 1)
    story.after(3600)
    assert dialled(story) == 1


def test_an_attempt_that_a_move_cut_short_is_not_the_networks_one(story: Story) -> None:
    """An attempt that a move cut short does not count as the network's one attempt."""
    behind(story)
    story.after(60).network(CAFE)
    story.after(1).network(HOME)
    story.after(10).fails("db", "timed-out")
    story.network(CAFE)
    assert dialled(story) == 3


def test_a_vpn_that_returns_ends_the_attempt_that_bypasses_it(story: Story) -> None:
    """When the VPN returns, the attempt that bypasses it ends, and a new one goes through the VPN."""
    behind(story)
    story.network(NOTHING)
    story.ended("db", kind="died")
    story.after(60).network(CAFE)
    assert dialled(story) == 1
    story.after(2).network(CAFE + VPN)
    assert len(story.did(Abort, "db")) == 1
    assert dialled(story) == 2
    story.after(1).network(CAFE + VPN)
    assert dialled(story) == 2


def test_another_machine_without_the_vpn_does_not_stop_the_attempts_with_it(story: Story) -> None:
    """If another machine answers without the VPN, the host waits for the VPN, and is connected when it returns."""
    behind(story)
    story.after(60).network(HOME)
    story.after(1).fails("db", "host-key-changed")
    assert (story.shown("db"), dialled(story)) == ("needs-vpn", 1)
    story.after(60).network(HOME + VPN_2)
    assert dialled(story) == 2


def test_a_failure_through_the_vpn_is_reported(story: Story) -> None:
    """A silent server is reported if the attempt went through the VPN."""
    behind(story)
    story.ended("db", kind="died")
    story.after(1).fails("db", "timed-out")
    assert story.problem("db") == "timed-out"


@pytest.mark.parametrize("strict", ["no", "accept-new"])
def test_the_attempt_is_a_careful_one(story: Story, strict: HostKeyChecking) -> None:
    """Without host key checking, no attempt bypasses the VPN. With accept-new, one does, because the key is known."""
    behind(story, strict=strict)
    story.after(60).network(CAFE)
    story.after(3600)
    assert dialled(story) == (0 if strict == "no" else 1)
    if strict == "no":
        assert story.shown("db") == "needs-vpn"


def test_a_host_that_needs_the_user_just_waits_for_the_vpn(story: Story) -> None:
    """A host that needs the user gets no request to log in while the VPN is down."""
    story.connected(
        "db", Wish(listed=True, connect="always", interactive=True), HOME + VPN, server=INTERNAL,
        local="10.8.0.6",
    )  # fmt: skip
    story.ended("db", kind="died")
    story.network(CAFE)
    story.after(60)
    assert dialled(story) == 0
    assert story.shown("db") == "needs-vpn"


def test_an_unknown_network_gets_no_attempt_until_it_is_identified(story: Story) -> None:
    """A network gets its one attempt only when its gateway is resolved, so that networks are not confused."""
    behind(story)
    story.after(60).network(CAFE.without_mac())
    story.after(5)
    assert dialled(story) == 0
    story.network(CAFE)
    assert dialled(story) == 1


def test_a_public_host_is_never_locked(story: Story) -> None:
    """No VPN is learned for a public address, even over a narrow route of the VPN."""
    behind(story, HOME + NARROW, PUBLIC)
    assert story.host("db").reached.learned_vpn is None
    story.after(60).network(CAFE)
    for _ in range(3):
        story.fails("db", "timed-out")
        story.after(60)
    assert dialled(story) == 4
    assert story.shown("db") != "needs-vpn"


def test_a_host_with_another_address_outside_is_learned_no_more(story: Story) -> None:
    """A host that was once reached at a public address without the VPN (split-horizon DNS) never waits for the VPN."""
    behind(story)
    story.after(60).network(CAFE)
    story.after(1).reconnected("db", peer=PUBLIC)
    assert story.host("db").reached.learned_vpn is None
    # Through the VPN again, at the inner address: the outer address remains known.
    story.after(60).network(CAFE + VPN)
    story.ended("db", kind="died")
    story.reconnected("db", peer=INTERNAL, local="10.8.0.6")
    assert story.host("db").reached.learned_vpn is None
    story.network(CAFE_2)
    assert dialled(story) == 1


def test_a_learned_vpn_does_not_hold_where_the_host_was_reached_directly(story: Story) -> None:
    """In the office the host needs no VPN. At home, where the private address is unreachable, it does."""
    story.connected("db", scene=OFFICE, server=INTERNAL)
    story.after(60).network(HOME + VPN)
    story.after(1).ready("db", local="10.8.0.6", peer=INTERNAL)
    story.took_over("db")
    assert story.host("db").reached.learned_vpn == "tun0"
    story.after(60).network(OFFICE)
    story.after(1).reconnected("db", local="172.20.0.5", peer=INTERNAL)
    assert story.host("db").reached.learned_vpn == "tun0"
    for _ in range(3):
        story.after(60).ended("db", kind="died")
        story.after(1).fails("db", "timed-out")
        story.after(60)
        story.reconnected("db", local="172.20.0.5", peer=INTERNAL)
    story.network(CAFE)
    story.after(1).fails("db", "timed-out")
    assert story.shown("db") == "needs-vpn"


def test_nothing_is_learned_where_the_host_is_reached_without_the_vpn(story: Story) -> None:
    """No VPN is learned in the office, where the host is also reachable without it."""
    story.connected("db", scene=OFFICE, server=INTERNAL)
    story.after(60).network(OFFICE + VPN)
    story.ended("db", kind="died")
    story.reconnected("db", local="10.8.0.6", peer=INTERNAL)
    assert story.host("db").reached.learned_vpn is None


def through_a_jump_host(story: Story, scene: Scene, peer: str) -> None:
    """Begin with `db`, whose own address is unknown: only its jump host's address is known."""
    story.scene = scene
    story.configured(db=ALWAYS)
    story.resolved("db", server="db.corp", jump="jump", strict="no", hop=Hop("jump.corp", 22))
    story.network(scene)
    story.found("db", started_by_agent=True, local="10.8.0.6", peer=peer, direct=False)
    story.started()
    story.network(scene)


def test_a_public_jump_host_teaches_no_vpn(story: Story) -> None:
    """No VPN is learned over a narrow route to a public jump host. A public address ends a learned VPN."""
    through_a_jump_host(story, HOME + NARROW, PUBLIC)
    assert story.host("db").reached.learned_vpn is None
    other = Story()
    through_a_jump_host(other, HOME + VPN, INTERNAL)
    assert other.host("db").reached.learned_vpn == "tun0"
    other.network(HOME)
    other.ended("db", kind="died")
    other.post(user_events.UserReconnect(other.t, ("db",)), "reconnect")
    other.reconnected("db", peer=PUBLIC, direct=False)
    assert other.host("db").reached.learned_vpn is None


def test_learning_can_be_turned_off(story: Story) -> None:
    """With `[agent] learn_vpn = false` nothing is learned, and learned VPNs are forgotten."""
    behind(story)
    assert story.host("db").reached.learned_vpn == "tun0"
    story.configured(db=ALWAYS, learn_vpn=False)
    assert story.host("db").reached.learned_vpn is None
    story.ended("db", kind="died")
    story.reconnected("db", local="10.8.0.6", peer=INTERNAL)
    assert story.host("db").reached.learned_vpn is None
    story.post(e.Remembered(story.t, "db", learned_vpn="tun0"))
    assert story.host("db").reached.learned_vpn is None


def test_a_vpn_learned_for_a_public_host_is_forgotten(story: Story) -> None:
    """A VPN that an older version learned for a public host is forgotten."""
    story.configured(db=ALWAYS)
    story.post(e.Remembered(story.t, "db", learned_vpn="tun0", addresses=(PUBLIC,)))
    assert story.host("db").reached.learned_vpn is None
    story.post(e.Remembered(story.t, "db", learned_vpn="tun0", addresses=(INTERNAL,)))
    assert story.host("db").reached.learned_vpn == "tun0"


def test_a_reconnect_needs_no_learned_vpn(story: Story) -> None:
    """`trayagent reconnect` needs no learned VPN, however often the user runs it."""
    behind(story)
    story.after(60).network(CAFE)
    story.fails("db", "timed-out")
    for _ in range(2):
        story.after(60).post(user_events.UserReconnect(story.t, ("db",)), "reconnect")
        story.fails("db", "timed-out")
    assert dialled(story) == 3


def test_without_checking_a_route_through_another_tunnel_is_no_known_network(story: Story) -> None:
    """Without host key checking, a route through another tunnel is not a known network for the private server."""
    through_a_jump_host(story, HOME + VPN, INTERNAL)
    assert story.host("db").reached.learned_vpn == "tun0"
    story.ended("db", kind="died")
    story.reconnected("db", local="10.8.0.6", peer=INTERNAL, direct=False)
    story.network(HOME + OTHER_VPN)
    story.ended("db", kind="died")
    story.forget()
    story.after(60)
    assert dialled(story) == 0
    assert story.problem("db") == "not-here"


def test_a_vpn_for_everything_is_a_route_for_all(story: Story) -> None:
    """Another tunnel for all traffic may reach the host, so the host is tried if ssh checks the host key."""
    behind(story)
    story.after(60).network(CAFE + VPN_ALL)
    assert dialled(story) + len([w for w in story.whys if w.verdict == "probe"]) >= 1


def test_an_unreachable_host_without_a_learned_vpn_waits_for_no_vpn(story: Story) -> None:
    """A literal address without a route shows `unreachable`, not a VPN that is down."""
    story.scene = replace(HOME, routes=HOME.routes[:1]).called("home without a default route")
    story.configured(nas=ALWAYS)
    story.resolved("nas", server=INTERNAL)
    story.network(story.scene)
    story.started()
    story.after(60)
    assert story.problem("nas") == "unreachable"


def test_accept_new_protects_only_once_the_key_is_known(story: Story) -> None:
    """With accept-new, a private address whose key is unknown gets no automatic login."""
    story.network(CAFE)
    story.configured(nas=ALWAYS)
    story.resolved("nas", server="192.168.10.50", strict="accept-new")
    story.started()
    story.after(60)
    assert dialled(story, "nas") == 0
    assert story.problem("nas") == "not-here"
    story.network(HOME)
    story.post(user_events.UserReconnect(story.t, ("nas",)), "reconnect")
    story.reconnected("nas", peer="192.168.10.50")
    story.after(60).network(CAFE)
    assert dialled(story, "nas") == 1


def test_a_name_without_a_known_address_is_no_public_one_if_it_needed_a_vpn(story: Story) -> None:
    """Without a host key check, a host that needed a VPN is not tried through another one.

    The host's address is unknown, but must be private, because the agent learned a VPN for the host.
    """
    story.network(CAFE + OTHER_VPN)
    story.configured(db=ALWAYS)
    there = frozenset({Network("tun0", "10.99.0.0/24")})
    story.post(e.Remembered(story.t, "db", learned_vpn="tun0", reached=there), "remembered")
    story.resolved("db", server="db.example.net", strict="no")
    story.started()
    story.after(60)
    assert dialled(story) == 0
    assert story.problem("db") == "not-here"
