"""Another way out appears while a connection is begun, before anything has answered it."""

from __future__ import annotations

import pytest

from tests.stories.scenes import HOME, HOME_6, OFFICE, VPN, Scene, lan
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts.actions import Abort, Dial, Redial
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.time_constants import REDIALS_MAX

NAME = Hop("web.example.org", 22)


def dialling(story: Story, scene: Scene = HOME) -> None:
    """Begin a connection that nothing answers."""
    story.network(scene)
    story.configured(web=ALWAYS)
    story.resolved("web", server=NAME.hostname, hop=NAME)
    story.started()
    story.after(1.0).forget()


def test_a_cable_gets_a_connection_of_its_own(story: Story) -> None:
    """The same attempt goes on with both, and its success is one login."""
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
def test_what_leads_elsewhere_changes_nothing(story: Story, more: Scene) -> None:
    """A tunnel to other networks, or the same network read again."""
    dialling(story)
    story.network(HOME + more)
    assert not story.did(Redial)


def test_a_connection_that_stands_is_kept(story: Story) -> None:
    """It was answered: a second one could only be cut."""
    dialling(story)
    story.established("web", "192.168.10.2")
    story.network(HOME + OFFICE)
    assert not story.did(Redial)


def test_an_address_that_is_tentative_no_more_is_another_way(story: Story) -> None:
    """Nothing can be sent from a tentative one (RFC 4862)."""
    new = "2001:db8:10::2/64"
    both = HOME + Scene("", HOME_6.interfaces, HOME_6.routes)
    faces = both.with_address("wlan0", "192.168.10.2/24")
    dialling(story, faces.with_address("wlan0", new, tentative=True))
    story.network(faces.with_address("wlan0", new, tentative=True))
    assert not story.did(Redial)
    story.network(faces.with_address("wlan0", new))
    assert len(story.did(Redial)) == 1


def test_the_old_address_may_go_once_a_second_connection_is_on_its_way(story: Story) -> None:
    """It is the new way's address that the attempt depends on, unless the old one was answered first."""
    dialling(story)
    story.network(HOME + OFFICE)
    story.network(OFFICE)
    assert not story.did(Abort)
    assert not story.did(Dial)


def test_the_way_that_answered_is_the_one_that_counts(story: Story) -> None:
    """The old connection was answered first, and is lost when its own address goes."""
    dialling(story)
    story.network(HOME + OFFICE)
    story.established("web", "192.168.10.2")
    story.network(OFFICE)
    assert len(story.did(Abort)) == 1


def test_a_network_that_never_rests_gets_few_connections(story: Story) -> None:
    """The rest is left to TCP."""
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
    """Its gateway is another machine, and nothing else tells of it."""
    dialling(story)
    story.network(lan("twin", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="ff:01"))
    assert len(story.did(Redial)) == 1
