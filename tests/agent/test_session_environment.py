"""Programs with a window get the display of the current session, even from an agent that started before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trayagent.agent.state.desktop_environment import DESKTOP_VARIABLES, session


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the user manager's environment, which a fake systemctl prints."""
    file = tmp_path / "environment"
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$*" = "--user show-environment" ] && /bin/cat {file}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SYSTEMD_EXEC_PID", raising=False)
    for name in DESKTOP_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OF_THE_UNIT", "yes")
    return file


def test_a_unit_opens_windows_on_the_present_display(manager: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the unit started in an X session and there is now a Wayland session, programs get only the new display."""
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("XAUTHORITY", "/run/gone")
    manager.write_text("WAYLAND_DISPLAY=wayland-1\nXDG_SESSION_TYPE=wayland\nLANG=C\n")
    found = session()
    assert (found["WAYLAND_DISPLAY"], found["XDG_SESSION_TYPE"]) == ("wayland-1", "wayland")
    assert "DISPLAY" not in found
    assert "XAUTHORITY" not in found
    assert found["OF_THE_UNIT"] == "yes"
    assert found["PATH"] == str(manager.parent), "the unit's own settings stay"


def test_a_unit_without_a_session_keeps_what_it_has(manager: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the manager knows no display, programs get the unit's own display."""
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    monkeypatch.setenv("DISPLAY", ":0")
    manager.write_text("LANG=C\n")
    assert session()["DISPLAY"] == ":0"


@pytest.mark.parametrize("exec_pid", [None, "1"])
def test_an_agent_in_a_terminal_belongs_to_its_own_session(
    manager: Path, monkeypatch: pytest.MonkeyPatch, exec_pid: str | None
) -> None:
    """An agent in a terminal uses its own environment, even if the terminal is a unit whose variables it inherited."""
    if exec_pid is not None:
        monkeypatch.setenv("SYSTEMD_EXEC_PID", exec_pid)
    monkeypatch.setenv("DISPLAY", ":7")
    manager.write_text("DISPLAY=:0\n")
    assert session()["DISPLAY"] == ":7"
    monkeypatch.delenv("DISPLAY")
    assert session()["DISPLAY"] == ":0", "started without a display, as over ssh"
