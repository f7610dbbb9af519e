"""Outages in the history: an outage continues only while the host should be connected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.stories.scenes import CAFE, HOME, NOTHING, VPN
from tests.stories.teller import ALWAYS, ON_USE, Story, failure
from trayagent.agent.events.event_bus import event_object
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.vpns import Vpn
from trayagent.history.outages import outages

BEGAN = datetime(2026, 1, 1, 8, tzinfo=UTC)
NEVER = Wish(listed=True, connect="never")


def recorded(story: Story) -> list[dict[str, Any]]:
    """Return the events as the history stores them, one second apart."""
    return [
        event_object(tell, (BEGAN + timedelta(seconds=number)).isoformat())
        for number, tell in enumerate(story.tells)
    ]


def away(story: Story) -> list[str]:
    """Return the hosts whose outage continues."""
    return [outage.host for outage in outages(recorded(story)) if outage.ended is None]


def lose(story: Story, wish: Wish = ALWAYS) -> None:
    """Let a host lose its connection and the network."""
    story.connected(scene=HOME, wish=wish)
    story.after(60).network(CAFE)
    story.ended("web")
    story.after(60).network(NOTHING)
    assert away(story) == ["web"]


@pytest.mark.parametrize("wish", [ALWAYS, ON_USE, NEVER])
def test_a_disconnect_ends_an_outage(story: Story, wish: Wish) -> None:
    """A disconnect ends an outage although there is no connection, because the host should be down now."""
    lose(story, wish)
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    assert away(story) == []
    told = len(story.told("disconnected"))
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    assert len(story.told("disconnected")) == told


def test_a_disconnect_while_it_is_being_connected_ends_an_outage(story: Story) -> None:
    """A disconnect cancels the attempt and ends the outage."""
    lose(story)
    story.after(60).network(HOME)
    assert story.host("web").attempt is not None
    story.post(user_events.UserDisconnect(story.t, ("web",)), "disconnect")
    assert away(story) == []


@pytest.mark.parametrize("wishes", [{}, {"web": NEVER}])
@pytest.mark.parametrize("adopt", [True, False])
def test_a_configuration_without_the_host_ends_an_outage(
    story: Story, wishes: dict[str, Wish], adopt: bool
) -> None:
    """An outage ends when the host leaves the configuration or becomes "never"."""
    lose(story)
    story.configured(wishes=wishes, adopt=adopt)
    assert away(story) == []


def test_a_configuration_that_still_wants_the_host_ends_no_outage(story: Story) -> None:
    """An outage continues if the configuration changes the host to on-use, because the agent still recovers it."""
    lose(story)
    story.configured(web=ON_USE)
    assert away(story) == ["web"]


def test_an_idle_host_is_not_reported_as_disconnected(story: Story) -> None:
    """No `disconnected` event is sent for a host that is on-use and idle, held, "never", or removed."""
    story.network(HOME)
    story.configured(web=ON_USE, quiet=NEVER, held=ALWAYS)
    story.post(e.Remembered(story.t, "held", held=True))
    story.started()
    story.post(user_events.UserDisconnect(story.t, ("web", "quiet", "held", "nobody")), "disconnect")
    story.configured(web=NEVER)
    story.configured()
    assert not story.told("disconnected")


def test_a_failed_reconnect_of_a_host_that_stays_connected_begins_no_outage(story: Story) -> None:
    """A failed reconnect or take-over begins no outage while the old connection works.

    A suspect host's failure does.
    """
    story.connected(scene=HOME)
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.old_answers("web")
    story.fails("web", "timed-out")
    story.after(60).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.old_answers("web")
    story.ready("web")
    number = story.host("web").attempt.id  # type: ignore[union-attr]
    story.post(e.TakeOverFailed(story.t, "web", number, failure("control-path")), "the path is taken")
    assert len(story.told("connect-failed")) == 2
    assert outages(recorded(story)) == []
    story.after(60).network(CAFE)
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.fails("web", "timed-out")
    assert away(story) == ["web"]


def test_a_failed_reconnect_of_an_idle_on_use_host_begins_no_outage(story: Story) -> None:
    """A failed reconnect of an idle on-use host begins no outage, whether `ssh -G` or the login fails."""
    story.network(HOME)
    story.configured(web=ON_USE)
    story.started()
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.post(e.ResolveFailed(story.t, "web", failure("config")), "ssh -G failed")
    story.resolved("web")
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.fails("web", "timed-out")
    assert len(story.told("connect-failed")) == 2
    assert outages(recorded(story)) == []


@pytest.mark.parametrize("wish", [ALWAYS, ON_USE])
def test_a_failed_reconnect_of_a_host_that_is_missed_begins_an_outage(story: Story, wish: Wish) -> None:
    """A failed reconnect begins an outage if the host is "always", or if the network cut its connection."""
    story.network(HOME)
    story.configured(web=wish)
    story.resolved("web")
    story.started()
    if wish is ON_USE:
        story.found("web")
        story.network(CAFE)
        story.ended("web")
        story.tells.clear()
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    story.fails("web", "timed-out")
    assert away(story) == ["web"]


def no_network_ms(story: Story, event: str) -> object:
    """Return how long there was no network before the last event of this name."""
    return story.told(event)[-1].details["no_network_ms"]


def test_the_time_without_a_network_ends_when_a_route_is_there(story: Story) -> None:
    """The time of the recovery begins when the time without a network ends."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(20).network(CAFE)
    story.after(0.5)
    story.reconnected()
    assert no_network_ms(story, "connected") == 20_000
    assert story.told("connected")[-1].details["took_ms"] == 500
    [evidence] = [why.evidence for why in story.whys if why.verdict == "connected"]
    assert evidence.get("no_network_ms") == "20000.0"


def test_several_times_without_a_network_add_up_and_a_pause_does_not(story: Story) -> None:
    """Each time without a network counts, but not the rest of a pause in which the network returns."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(20).network(CAFE)
    story.after(0.1).network(NOTHING)
    story.after(5).post(user_events.UserPause(story.t), "pause")
    story.after(10).network(CAFE)
    story.after(600).post(user_events.UserResume(story.t), "resume")
    story.after(0.5)
    story.reconnected()
    assert no_network_ms(story, "connected") == 35_000


def test_a_kept_connection_reports_the_time_without_a_network(story: Story) -> None:
    """If the old network returns, the old connection lives, and the whole interruption was the network's."""
    story.connected(scene=HOME)
    story.after(60).network(NOTHING)
    story.after(20).network(HOME)
    story.after(0.05).answered("web")
    assert no_network_ms(story, "master-kept") == 20_000
    story.after(60).network(CAFE)
    story.after(0.5)
    story.reconnected()
    assert no_network_ms(story, "connected") == 0


def test_a_vpn_that_is_down_is_no_missing_network(story: Story) -> None:
    """A host behind a VPN waits for the VPN, which only the user or the desktop can bring up."""
    story.configured(web=Wish(listed=True, connect="always", vpn="corp"), vpns=(Vpn("corp", "tun*"),))
    story.resolved("web")
    story.network(CAFE)
    story.started()
    story.after(60).network(CAFE + VPN)
    story.after(0.5)
    story.reconnected()
    assert no_network_ms(story, "connected") == 0
