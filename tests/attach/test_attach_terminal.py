"""The changes that a broken session left in the terminal are reset.

The tests use tmux as terminal, which reports its modes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
# Modes that full-screen programs set: screen, mouse, paste, keypad, margins, wrapping, insert, cursor, title.
SPOIL = (
    r"\x1b[?1049h\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?1004h\x1b[?2004h\x1b[?1h\x1b=\x1b[3;9r\x1b[?7l\x1b[4h"
    r"\x1b[?25l\x1b[4 q\x1b[31;7m\x1b[10;20H\x1b]2;another title\x07"
)
FLAGS = (
    "alternate_on mouse_any_flag mouse_button_flag mouse_sgr_flag keypad_cursor_flag keypad_flag insert_flag "
    "wrap_flag cursor_flag scroll_region_upper scroll_region_lower cursor_x cursor_y pane_title"
)
PROGRAM = """
import sys, time
from trayagent.attach.terminal import Terminal
terminal = Terminal()
print("first words", flush=True)
terminal.lend()
{meanwhile}
sys.stdout.flush()
time.sleep(60)
"""
SPOILT = f'sys.stdout.write("{SPOIL}"); sys.stdout.flush()\n'
MENDED = "terminal.take_back(broken=True, behind_words=False)\n"


class Opened:
    """The terminal after a program. Its value is the terminal's flags, or the text if `screen` is set."""

    def __init__(self, flags: Callable[[str], str], screen: Callable[[str], str]) -> None:
        self._flags = flags
        self.screen = screen

    def __call__(self, meanwhile: str) -> str:
        """Run the program, and return the terminal's flags or text."""
        return self._flags(meanwhile)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Return a function that runs a program in a terminal, and returns the terminal's flags."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is missing")
        pytest.skip("tmux is missing")
    tmux = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / "s")]

    def run(*words: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(
            [*tmux, *words], capture_output=True, text=True, timeout=20, check=True, env=env
        ).stdout

    def opened(name: str, meanwhile: str, seen: str) -> str:
        program = PROGRAM.format(meanwhile=rf"{meanwhile}sys.stdout.write('\r\n{seen}\r\n')")
        run("new-session", "-d", "-s", name, "-x", "80", "-y", "24", sys.executable, "-c", program)
        limit = time.monotonic() + 20
        while seen not in run("capture-pane", "-p", "-t", name):
            assert time.monotonic() < limit, run("capture-pane", "-p", "-t", name)
            time.sleep(0.02)
        return run(
            "display-message", "-p", "-t", name, " ".join(f"{flag}=#{{{flag}}}" for flag in FLAGS.split())
        )

    def screen(meanwhile: str) -> str:
        name = f"t{time.monotonic_ns()}"
        opened(name, meanwhile, "seen")
        return run("capture-pane", "-p", "-t", name)

    try:
        yield Opened(
            lambda meanwhile: opened(f"t{time.monotonic_ns()}", meanwhile, "seen"),
            screen,
        )
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


def test_a_spoilt_terminal_is_as_one_in_which_nothing_happened(opened: Opened) -> None:
    """Screen, mouse, keys, margins, cursor and title are reset, and the earlier screen is back."""
    fresh, spoilt = opened(""), opened(SPOILT)
    for flag in (
        "alternate_on=1",
        "mouse_any_flag=1",
        "keypad_flag=1",
        "insert_flag=1",
        "wrap_flag=0",
        "another",
    ):
        assert flag in spoilt
        assert flag not in fresh
    assert opened(SPOILT + MENDED) == fresh
    assert opened(MENDED) == fresh, "and nothing moves where nothing was changed"


def test_a_line_over_the_picture_leaves_the_cursor_where_it_was(opened: Opened) -> None:
    """A line on the first or last row, and its removal, leave the cursor in place."""
    fresh = opened("")
    for last_row in (True, False):
        covered = f"terminal.cover('offline', last_row={last_row})\n"
        assert opened(covered) == fresh
        assert opened(f"{covered}terminal.uncover(last_row={last_row})\n") == fresh


def test_a_printed_line_replaces_old_text(opened: Opened) -> None:
    """No old text shows beside our line after a remote program moved the cursor up."""
    words = r"\r\n" + "old words " * 6
    moved = f'sys.stdout.write("{words}\\x1b[A"); sys.stdout.flush()\n'
    mended = "terminal.take_back(broken=True, behind_words=True)\n"
    said = "terminal.print_line('it was lost')\n"
    whole = opened.screen(f"{moved}{mended}{said}")
    assert "it was lost" in whole
    assert "old words" not in whole
