"""The agent's own desk and its connections to other parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trayagent.agent.desktop_client import make_desk


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
