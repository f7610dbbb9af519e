"""The command of the menu's "Open terminal": a session that reconnects, in a window that stays open after an error."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trayagent.desktop.menu.commands import OpenTerminal
from trayagent.desktop.menu_actions import Choices, Files
from trayagent.desktop.window_title_and_pause import in_terminal

WITHIN_S = 20.0


async def unasked(*_: Any) -> Any:
    """Fail, because this choice must not call the agent."""
    raise AssertionError


def words_of(tmp_path: Path, host: str) -> list[str]:
    """Choose "Open terminal" with a fake terminal that records its arguments. Return the recorded command."""
    note, terminal = tmp_path / "words", tmp_path / "xterm"
    part = shlex.quote(f"{note}.part")
    terminal.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {part}; mv {part} {shlex.quote(str(note))}\n')
    terminal.chmod(0o755)
    choices = Choices(
        unasked,
        quit_=lambda: None,
        files=Files(tmp_path / "config.toml", tmp_path / "log", lambda: ""),
        sign_in_words=lambda _: None,
        activate=unasked,
        start_at_login=lambda _: None,
        environment=lambda: {**os.environ, "TERMINAL": str(terminal)},
    )
    asyncio.run(choices.carry_out(OpenTerminal(host)))
    limit = time.monotonic() + WITHIN_S
    while not note.exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    return note.read_text().splitlines()


def test_open_terminal_attaches_with_the_agents_own_configuration(tmp_path: Path) -> None:
    """The words arrive unchanged, and no shell interprets the host's name."""
    words = words_of(tmp_path, "-web; reboot")
    assert words[:2] == ["-e", "sh"]
    config = str(tmp_path / "config.toml")
    attach = [sys.executable, "-P", "-m", "trayagent", "attach", "--config", config, "--", "-web; reboot"]
    assert words[-len(attach) :] == attach


def test_an_error_can_be_read_before_the_window_closes(tmp_path: Path) -> None:
    """After an error (255), the window waits for a key. After another status, it closes at once."""
    script = words_of(tmp_path, "web")[3]
    for status, asks in ((255, True), (0, False), (7, False)):
        command = ["sh", "-c", script, "web", "sh", "-c", f"exit {status}"]
        done = subprocess.run(
            command, input="\n", capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        assert done.stdout.startswith("\x1b]2;web\x07"), "the window has the host's name as its title"
        assert ("Enter closes" in done.stdout) is asks


def test_a_title_cannot_contain_a_command_of_the_terminal() -> None:
    """Control characters in a host's name do not reach the terminal."""
    command = in_terminal("-w\x1b]2;x\x07%s\\e", ["echo", "ran"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    assert done.stdout == "\x1b]2;-w\ufffd]2;x\ufffd%s\\e\x07ran\n"
