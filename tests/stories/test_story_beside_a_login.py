"""Requests while the user logs in at a terminal."""

from __future__ import annotations

import pytest

from tests.stories.scenes import HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Abort, Dial


@pytest.mark.parametrize("end", ["ctrl-c", "denied"])
def test_a_reconnect_beside_a_login_at_a_prompt_changes_nothing(story: Story, end: str) -> None:
    """A reconnect beside a login at a prompt changes nothing, and no automatic login follows if that login fails."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth", positive=True)
    story.actions.clear()
    resolved = story.host("web").resolved
    assert resolved is not None
    story.post(user_events.LoginBegun(story.t, "web", resolved, story.host("web").hop), "login begun")
    before = story.host("web")
    story.after(5).post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    assert story.host("web") == before
    if end == "denied":
        story.fails("web", "auth", positive=True)
    else:
        number = before.attempt.id  # type: ignore[union-attr]
        story.post(user_events.LoginGivenUp(story.t, "web", number), "given up")
    story.after(600)
    assert not story.did(Dial)
    assert not story.did(Abort)
    assert story.shown("web") == "needs-sign-in"
