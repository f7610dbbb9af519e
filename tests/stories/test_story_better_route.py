"""A new route appears while an attempt has no established connection yet."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, HOME_6, OFFICE, VPN, Scene, lan
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts.actions import Abort, Dial, Redial
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.time_constants import REDIALS_MAX, UNFINISHED_PER_WINDOW

NAME = Hop("web.example.org", 22)


def dialling(story: Story, scene: Scene = HOME) -> None:
    """Begin a connection that no server answers."""
    story.network(scene)
    story.configured(web=ALWAYS)
    story.resolved("web", server=NAME.hostname, hop=NAME)
    story.started()
    story.after(1.0).forget()


def test_a_cable_gets_a_connection_of_its_own(story: Story) -> None:
    """A new cable gets a second connection in the same attempt, and its success is one login."""
    dialling(story)
    story.network(HOME + OFFICE)
    story.expect(
        """
        1.000 network: home + cable
                web: row 0 redial
            redial web #1
    """.replace("home + cable", (HOME + OFFICE).label)
    )
    story.established("web", "172.20.0.5")
    story.ready("web", local="172.20.0.5")
    story.took_over("web")
    assert story.shown("web") == "connected"
    assert not story.did(Dial)
    assert not story.did(Abort)


@pytest.mark.parametrize("more", [VPN, HOME])
def test_a_route_elsewhere_changes_nothing(story: Story, more: Scene) -> None:
    """A tunnel to other networks, or a network that is read again, causes no second connection."""
    dialling(story)
    story.network(HOME + more)
    assert not story.did(Redial)


def test_an_established_connection_is_kept(story: Story) -> None:
    """If the connection is established, no second one starts, because one of them would be cut off."""
    dialling(story)
    story.established("web", "192.168.10.2")
    story.network(HOME + OFFICE)
    assert not story.did(Redial)


def test_an_address_that_is_tentative_no_more_is_another_route(story: Story) -> None:
    """An address counts as a new route only when it is no longer tentative (RFC 4862)."""
    new = "2001:db8:10::2/64"
    both = HOME + Scene("", HOME_6.interfaces, HOME_6.routes)
    faces = both.with_address("wlan0", "192.168.10.2/24")
    dialling(story, faces.with_address("wlan0", new, tentative=True))
    story.network(faces.with_address("wlan0", new, tentative=True))
    assert not story.did(Redial)
    story.network(faces.with_address("wlan0", new))
    assert len(story.did(Redial)) == 1


def test_the_old_address_may_go_once_a_second_connection_is_on_its_way(story: Story) -> None:
    """While a second connection starts, the loss of the old address does not end the attempt."""
    dialling(story)
    story.network(HOME + OFFICE)
    story.network(OFFICE)
    assert not story.did(Abort)
    assert not story.did(Dial)


def test_the_route_that_answered_is_the_one_that_counts(story: Story) -> None:
    """If the old connection was answered first, the loss of its address ends the attempt."""
    dialling(story)
    story.network(HOME + OFFICE)
    story.established("web", "192.168.10.2")
    story.network(OFFICE)
    assert len(story.did(Abort)) == 1


def test_a_network_that_never_rests_gets_few_connections(story: Story) -> None:
    """A network that keeps changing gets at most REDIALS_MAX more connections. TCP does the rest."""
    dialling(story)
    scene = HOME
    for number in range(10):
        scene += lan(
            "dock", f"eth{number}", f"172.20.{number}.5/24", gateway=f"172.20.{number}.1", mac=f"dd:{number}",
            metric=100 - number,
        )  # fmt: skip
        story.after(0.2).network(scene)
    assert len(story.did(Redial)) == REDIALS_MAX


def test_another_network_with_the_same_addresses_counts(story: Story) -> None:
    """A network with the same addresses and another gateway counts as another network."""
    dialling(story)
    story.network(lan("twin", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="ff:01"))
    assert len(story.did(Redial)) == 1


def test_a_network_whose_limit_is_reached_gets_no_further_connection(story: Story) -> None:
    """A login does not move to a network where the limit of cut-off connections is reached."""
    nas = "192.168.10.50"
    story.network(OFFICE + CAFE)
    story.configured(nas=ALWAYS)
    story.resolved("nas", server=nas, hop=Hop(nas, 22))
    story.started()
    for _ in range(UNFINISHED_PER_WINDOW):
        story.after(0.7).network(OFFICE + HOME)
        story.established("nas", "192.168.10.2")
        story.after(0.7).network(OFFICE + CAFE)
    assert len(story.did(Redial, "nas")) == UNFINISHED_PER_WINDOW
    story.after(0.7).network(OFFICE + HOME)
    assert len(story.did(Redial, "nas")) == UNFINISHED_PER_WINDOW


def test_logins_that_follow_a_success_do_not_all_move_to_another_network(story: Story) -> None:
    """Many parallel logins that are allowed after a success on one network do not all move to another network."""
    names = ("a", "b", "c", "d", "e")
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(names, ALWAYS))
    for name in names:
        story.resolved(name, server=NAME.hostname, hop=NAME)
    story.started()
    story.reconnected("a")
    assert sum(story.host(name).attempt is not None for name in names) == 4
    story.network(HOME + OFFICE)
    assert not [redial for name in names for redial in story.did(Redial, name)]
