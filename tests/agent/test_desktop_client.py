"""The agent's own desktop client and its connections to other parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trayagent.agent.desktop_client import DeskDoor, make_desk
from trayagent.agent.event_loop import Shell
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.events import Event
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.core.facts.user_events import UserViewedStatus


@pytest.mark.parametrize("usual", [True, False])
def test_start_at_login_from_the_menu_keeps_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: bool
) -> None:
    """The menu's "Start at login" keeps the agent's configuration, as `trayagent install --config` does."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("TRAYAGENT_CONFIG", str(tmp_path / "of-this-session.toml"))
    path = tmp_path / "trayagent" / "config.toml" if usual else tmp_path / "other.toml"
    nothing: Any = SimpleNamespace(stop=lambda: None)
    parts: Any = SimpleNamespace(
        configuration=SimpleNamespace(
            path=path, config=SimpleNamespace(agent=SimpleNamespace(notify="none"))
        ),
        file_paths=SimpleNamespace(log_file=tmp_path / "log"),
        environment=SimpleNamespace(buses=list),
        shell=None,
    )
    desk = make_desk(nothing, nothing, parts, nothing)
    desk._choices._start_at_login(True)
    entry = (tmp_path / "autostart" / "trayagent.desktop").read_text()
    assert (f"--config {path}" in entry) == (not usual)
    desk._choices._start_at_login(False)
    assert not (tmp_path / "autostart" / "trayagent.desktop").exists()


@pytest.mark.parametrize("owners", [(), ("web", "db", "web")])
def test_an_opened_menu_has_the_draining_masters_counted(owners: tuple[str, ...]) -> None:
    """An opened menu makes the agent count the sessions of hosts with draining masters.

    Without any, there is no event.
    """
    posted: list[Event] = []
    shell = Shell()
    shell.post = posted.append  # type: ignore[method-assign, assignment]
    draining = {str(n): Host(str(n), draining=Draining(owner, 0.0)) for n, owner in enumerate(owners)}
    shell.state = State(hosts={"web": Host("web"), **draining})
    parts: Any = SimpleNamespace(configuration=None, shell=shell)
    nothing: Any = None
    DeskDoor(nothing, parts, nothing).opened()
    assert [event.names for event in posted if isinstance(event, UserViewedStatus)] == [("web", "db")][
        : len(owners)
    ]
