"""An event costs only the hosts that it can concern."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core import decide as deciding
from trayagent.core.decision_context import Context
from trayagent.core.policy.advance import advance


@pytest.fixture
def advanced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the hosts that were advanced."""
    names: list[str] = []

    def noting(context: Context, name: str) -> None:
        names.append(name)
        advance(context, name)

    monkeypatch.setattr(deciding, "advance", noting)
    return names


def test_an_event_of_one_host_leaves_connected_hosts_alone(advanced: list[str]) -> None:
    """While one host reconnects, no other host is advanced. A change of the network concerns them all."""
    story = Story()
    for name in ("web", "mail", "git"):
        story.connected(name, scene=HOME, wish=ALWAYS, user=name)
    story.after(60)
    advanced.clear()
    story.ended("web", kind="died")
    story.ready("web")
    story.took_over("web")
    assert set(advanced) == {"web"}
    story.network(CAFE)
    assert set(advanced) == {"web", "mail", "git"}


def test_hosts_that_wait_for_a_server_are_left_alone_until_it_has_room(advanced: list[str]) -> None:
    """With more hosts than the server may see at a time, a progress of one login advances no waiting host."""
    names = [f"web{number}" for number in range(12)]
    story = Story()
    for name in names:
        story.connected(name, scene=HOME, wish=ALWAYS, user=name)
    story.after(60).network(CAFE)
    begun = [name for name in names if story.host(name).attempt is not None]
    assert len(begun) == 6
    advanced.clear()
    for name in begun:
        story.established(name)
    assert set(advanced) == set(begun)
    advanced.clear()
    story.ready(begun[0])
    assert sum(story.host(name).attempt is not None for name in names) == 7
    assert len(set(advanced)) == 2
