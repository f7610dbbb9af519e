"""Logins at a terminal that fail because the agent itself lacks a resource."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.stories.scenes import HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.agent.masters import interactive_login as person_logins
from trayagent.agent.masters.interactive_login import InteractiveLogins
from trayagent.agent.parts import Parts
from trayagent.agent.state.records import Records
from trayagent.agent.state.resolve_when_needed import Answer
from trayagent.config.file_paths import find
from trayagent.core.facts.events import Event
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State
from trayagent.errors import TrayagentError


class _Around:
    """A fake of the parts of an attempt that a login uses before it begins."""

    def __init__(self, resolved: Resolved, path: Path) -> None:
        self.resolved, self.path = resolved, path

    async def resolve(self, _: str) -> Answer:
        return Answer(self.resolved, None, 0.0, False, True)

    def path_of_next(self, _: object) -> str:
        return str(self.path)

    async def check(self, *_: object) -> None:
        """Accept every path as free."""


class _StoryShell:
    """A shell whose decisions are those of a story."""

    def __init__(self, story: Story) -> None:
        self._story = story

    @property
    def state(self) -> State:
        return self._story.state

    def post(self, event: Event) -> None:
        self._story.post(event)

    async def decided(self, event: Event) -> None:
        self._story.post(event)


def test_a_login_that_cannot_be_watched_leaves_no_attempt_at_its_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor to watch a login, there is a clear error and no attempt, so another login may begin."""
    story = Story()
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.fails("web", "auth")
    resolved = story.host("web").resolved
    assert resolved is not None
    around: Any = _Around(resolved, tmp_path / "cm")
    records = Records(tmp_path / "records.json")

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(person_logins, "PidWatch", full)
    paths = find(env={"TRAYAGENT_RUNTIME_DIR": str(tmp_path)})
    nothing: Any = None
    shell: Any = _StoryShell(story)
    parts = Parts(paths, nothing, shell, around, records, nothing)
    logins = InteractiveLogins(parts, around, around, around)
    with pytest.raises(
        TrayagentError, match="web: the login cannot be watched: Too many open files"
    ) as error:
        asyncio.run(logins.begin("web", os.getpid()))
    assert error.value.hint == "Log in without the agent: ssh web"
    assert story.host("web").attempt is None
    assert (story.shown("web"), records.begun()) == ("needs-sign-in", {})
