"""The user's choices on a real pseudo-terminal of 80 by 24."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.init.conftest import furnish
from trayagent.config.load_file import load
from trayagent.sandbox import Agent, Lab

UP, DOWN = "\x1b[A", "\x1b[B"
WITHIN_S = 20.0


class Terminal:
    """A pseudo-terminal in which `trayagent init` runs. `said` is all output."""

    def __init__(self, desk: Lab, env: Mapping[str, str], columns: int, rows: int) -> None:
        self.started_by_agent, self._theirs = os.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self._theirs)
        self.said = ""
        self.child: subprocess.Popen[str] = desk.laptop.popen(
            Agent.command("init"), env=env, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs
        )

    def resize(self, columns: int, rows: int) -> None:
        """Resize the terminal. The kernel sends no SIGWINCH, because this is not the program's controlling terminal."""
        fcntl.ioctl(self.started_by_agent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def screen(self) -> list[str]:
        """Return the lines of the last painted screen."""
        last = self.said.rpartition("\x1b[H")[2]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).split("\r\n")

    def wait(self, pattern: str) -> list[str]:
        """Read until the last screen matches."""
        limit = time.monotonic() + WITHIN_S
        while not re.search(pattern, "\n".join(self.screen())):
            assert self._read(limit), f"no {pattern} in {self.said[-2000:]!r}"
        return self.screen()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self.started_by_agent, key.encode())
            time.sleep(0.01)  # a burst would look like a paste

    def end(self) -> int:
        """Read to the end, check that the terminal is restored, and return the exit status."""
        limit = time.monotonic() + WITHIN_S
        while self.child.poll() is None:
            self._read(min(limit, time.monotonic() + 0.05))
            assert time.monotonic() < limit
        while self._read(time.monotonic() + 0.05):
            pass
        assert termios.tcgetattr(self._theirs) == self.before
        assert self.said.count("\x1b[?1049h") == self.said.count("\x1b[?1049l")
        assert self.said.count("\x1b[?25l") == self.said.count("\x1b[?25h")
        return self.child.returncode

    def close(self) -> None:
        """End the program if it still runs."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for descriptor in (self.started_by_agent, self._theirs):
            os.close(descriptor)

    def _read(self, limit: float) -> bool:
        if not select.select([self.started_by_agent], [], [], max(0.0, limit - time.monotonic()))[0]:
            return False
        self.said += os.read(self.started_by_agent, 65536).decode()
        return True


@pytest.fixture
def terminal(
    desk: Lab, home: Path, env: Mapping[str, str], request: pytest.FixtureRequest
) -> Iterator[Terminal]:
    """Start `trayagent init` in a terminal. The parameter contains TERM and the size."""
    furnish(home, "shell-files")
    term, columns, rows = getattr(request, "param", ("xterm", 80, 24))
    made = Terminal(desk, {**env, "TERM": term}, columns, rows)
    try:
        yield made
    finally:
        made.close()


pytestmark = pytest.mark.lab


def test_arrow_keys_and_space_choose_what_is_written(terminal: Terminal, home: Path) -> None:
    """A host is set to always, to on-use or left out, and a single forward is switched off."""
    seen = terminal.wait("q: leave")
    assert len(seen) <= 24
    assert all(len(line) < 80 for line in seen)
    assert seen[2].startswith("[x] pi  keep connected")
    terminal.press(DOWN, DOWN, " ")
    terminal.wait(r"\[ \] -L 5001")
    terminal.press("j", "j", "j", " ")
    terminal.wait(r"\[ \] dev  leave out")
    terminal.press(UP, "\x1b[H", " ")
    terminal.wait(r"\[~\] pi  when used")
    terminal.press("\r")
    assert terminal.end() == 0
    config = load(home / ".config/trayagent/config.toml")
    assert list(config.hosts) == ["pi"]
    assert config.hosts["pi"].connect == "on-use"
    assert config.hosts["pi"].local == ("8081:localhost:80",)
    # listed as left out, but without a command that switches it off
    assert "dev (alias devtunnel" in terminal.said
    assert "reconnect dev" not in terminal.said


@pytest.mark.parametrize("key", ["q", "\x1b", "\x03", "\x04"])
def test_leaving_writes_nothing(terminal: Terminal, home: Path, key: str) -> None:
    """q, Escape, Ctrl-C and Ctrl-D end `init` with status 1, without a file, and the terminal is restored."""
    terminal.wait("q: leave")
    terminal.press(key)
    assert terminal.end() == 1
    assert "Nothing was written." in terminal.said
    assert not (home / ".config/trayagent").exists()


def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal, home: Path) -> None:
    """SIGTERM during the choice restores the terminal."""
    terminal.wait("q: leave")
    terminal.child.terminate()
    assert terminal.end() == 128 + 15
    assert not (home / ".config/trayagent").exists()


@pytest.mark.parametrize("terminal", [("xterm", 44, 8)], indirect=True)
def test_a_small_terminal_scrolls(terminal: Terminal) -> None:
    """Every row can be reached, no row is wider than the terminal, and a new size takes effect immediately."""
    seen = terminal.wait("more lines")
    assert len(seen) == 8
    assert all(len(line) < 44 for line in seen)
    terminal.press("\x1b[F")
    assert any("9229" in line for line in terminal.wait("9229"))
    terminal.resize(80, 24)
    # send SIGWINCH, because the kernel sends it only for a controlling terminal
    terminal.child.send_signal(28)
    terminal.wait("pi  keep connected(?s:.*)9229")
    terminal.press("q")
    assert terminal.end() == 1


@pytest.fixture
def slow_crontab(home: Path) -> None:
    """Let `init` take so long that it shows what it reads."""
    (home / "bin" / "crontab").write_text("#!/bin/sh\nsleep 1.1\nexit 1\n")


@pytest.mark.usefixtures("slow_crontab")
@pytest.mark.parametrize("terminal", [("dumb", 80, 24)], indirect=True)
def test_a_dumb_terminal_is_asked_line_by_line(terminal: Terminal, home: Path) -> None:
    """The output is plain text, also that about the progress, and an empty answer accepts the proposal."""
    terminal.wait(r"\[a\] ")
    terminal.press("what\n")
    terminal.wait("Please answer")
    terminal.press("\n")
    terminal.wait(r"dev .* \[u\] ")
    terminal.press("n\n")
    assert terminal.end() == 0
    assert terminal.said.count("Reading ssh -G ") == 1
    assert "\x1b" not in terminal.said
    assert list(load(home / ".config/trayagent/config.toml").hosts) == ["pi"]
