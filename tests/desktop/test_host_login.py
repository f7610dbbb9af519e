from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from trayagent.desktop.activation_token import Activation
from trayagent.desktop.host_login import askpass, log_in
from trayagent.errors import TrayagentError


def program(path: Path, script: str = "exit 0") -> str:
    """Create a program."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_ssh_asks_in_windows_only_where_there_is_a_display(tmp_path: Path) -> None:
    """With a display, ssh gets an askpass program: the user's own one first, then the usual ones that exist."""
    mine, usual = program(tmp_path / "mine"), program(tmp_path / "ksshaskpass")
    env = {"PATH": str(tmp_path), "DISPLAY": ":99"}
    assert askpass({**env, "SSH_ASKPASS": mine}) == mine
    assert askpass({"PATH": str(tmp_path), "WAYLAND_DISPLAY": "wayland-0", "SSH_ASKPASS": mine}) == mine
    assert askpass({"PATH": str(tmp_path), "SSH_ASKPASS": mine}) is None
    found = askpass({**env, "SSH_ASKPASS": "/nowhere/at-all"})
    # this machine may have an askpass program, too
    assert found == usual or (found or "").endswith("/ssh-askpass")


def test_without_terminal_and_window_the_hint_has_the_command(tmp_path: Path) -> None:
    """Without a terminal and a window, the hint contains the command to type at a console."""
    with pytest.raises(TrayagentError, match=r"No terminal emulator") as raised:
        asyncio.run(log_in("web01", {"PATH": str(tmp_path)}))
    assert "trayagent login web01" in raised.value.hint


def test_the_terminal_stays_open_until_a_failure_is_read(tmp_path: Path) -> None:
    """The terminal runs `trayagent login`, and stays open after a failure. The host's name stays one word."""
    note = tmp_path / "words"
    program(tmp_path / "xterm", f'printf "%s\\n" "$@" > {note}')
    asyncio.run(log_in("web 01; touch oops", {"PATH": str(tmp_path)}))
    words = note.read_text().splitlines()
    assert words[:3] == ["-e", "sh", "-c"]
    assert "Enter closes this window" in words[3]
    own = [sys.executable, "-P", "-m", "trayagent", "login", "--", "web 01; touch oops"]
    assert words[4:] == ["web 01; touch oops: log in", *own]


def test_a_login_in_windows_that_fails_says_why(tmp_path: Path) -> None:
    """If the command fails (here no agent can start), the error contains the command's own text."""
    asker = program(tmp_path / "asker")
    (tmp_path / "broken").write_text("[hosts")
    (tmp_path / "broken").chmod(0o600)
    env = {
        "PATH": str(tmp_path),
        "DISPLAY": ":99",
        "SSH_ASKPASS": asker,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TRAYAGENT_CONFIG": str(tmp_path / "broken"),
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "state"),
    }
    with pytest.raises(TrayagentError, match=r"No agent could be started: .*broken") as raised:
        asyncio.run(log_in("web01", env))
    assert "trayagent run" in raised.value.hint


def test_a_clicks_token_is_used_for_one_window() -> None:
    """A click's token is passed to one window only. The token with which the agent itself was started is never used."""
    activation = Activation()
    env = {"PATH": "/bin", "XDG_ACTIVATION_TOKEN": "of the agent's own start"}
    assert activation.lay_over(env) == {"PATH": "/bin"}
    activation.given("of this click")
    assert activation.lay_over(env) == {"PATH": "/bin", "XDG_ACTIVATION_TOKEN": "of this click"}
    assert activation.lay_over(env) == {"PATH": "/bin"}
