from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trayagent.desktop.open_terminal import BEFORE_WORDS, command_lines, open_terminal
from trayagent.errors import TrayagentError

WITHIN_S = 20.0
AT_ONCE_S = 5.0
"""Long enough for a busy machine to start a program that ends at once."""
WORDS = ["ssh", "--", "web 01; touch oops"]

Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return a function that puts a program on the PATH.

    The program records its arguments, then runs the test's script.
    """

    def program(name: str, then: str = "exit 0") -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        note = shlex.quote(str(tmp_path / f"{name}.words"))
        path.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {note}.part; /bin/mv {note}.part {note}\n{then}\n"
        )
        path.chmod(0o755)
        return path

    return program


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment that contains only the test's terminals, and no terminal of this machine."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    return {"PATH": str(tmp_path / "bin")}


def words_of(tmp_path: Path, name: str) -> list[str]:
    """Wait until a program was started, and return its arguments."""
    note, deadline = tmp_path / f"{name}.words", time.monotonic() + WITHIN_S
    while not note.exists():
        assert time.monotonic() < deadline, f"{name} was not started"
        time.sleep(0.01)
    return note.read_text().splitlines()


@pytest.mark.parametrize("name", BEFORE_WORDS)
def test_each_terminal_gets_the_words_as_they_are(
    tmp_path: Path, env: dict[str, str], program: Program, name: str
) -> None:
    """The words follow the terminal's own options unchanged, and no shell splits or runs any of them."""
    path = program(name)
    assert asyncio.run(open_terminal(WORDS, env, AT_ONCE_S)) == str(path)
    assert words_of(tmp_path, name) == [*BEFORE_WORDS[name], *WORDS]
    assert not Path("oops").exists()


def test_the_order_is_the_variable_then_the_desktops_then_the_usual_ones(
    env: dict[str, str], program: Program
) -> None:
    """The order is $TERMINAL, the desktop's terminal, the usual ones. $TERMINAL may be unknown or have options."""
    for name in ("xterm", "konsole", "xdg-terminal-exec", "mine", "wezterm"):
        program(name)

    def order(terminal: str) -> list[list[str]]:
        lines = [*command_lines(["ssh", "web"], env | {"TERMINAL": terminal})]
        return [[Path(program).name, *rest] for program, *rest in lines]

    usual = [
        ["xdg-terminal-exec", "ssh", "web"],
        ["konsole", "-e", "ssh", "web"],
        ["wezterm", "start", "--", "ssh", "web"],
        ["xterm", "-e", "ssh", "web"],
    ]
    assert order("") == usual
    assert order("konsole") == [usual[1], usual[0], *usual[2:]]
    assert order("mine --wide 'a b'") == [["mine", "--wide", "a b", "-e", "ssh", "web"], *usual]
    assert order("/nowhere/at-all") == usual
    assert order("open 'quote") == usual
    assert order(str(Path(env["PATH"]) / "mine"))[0] == ["mine", "-e", "ssh", "web"]


def test_the_next_terminal_is_tried_if_one_cannot_start(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """If a terminal does not exist, is not a program or ends at once with an error, the next terminal is tried."""
    program("mine", "exit 1")
    program("gnome-terminal").write_text("no program at all")
    konsole = program("konsole")
    env = env | {"TERMINAL": "mine"}
    assert asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S)) == str(konsole)
    assert words_of(tmp_path, "mine") == words_of(tmp_path, "konsole") == ["-e", "ssh", "web"]


def test_a_command_that_fails_in_foot_is_not_started_in_a_second_terminal(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """A failed command in foot starts no second terminal. foot ends with 230 only for its own failures."""
    foot, xterm = program("foot", "exit 255"), program("xterm")
    assert asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S)) == str(foot)
    assert not (tmp_path / "xterm.words").exists()
    program("foot", "exit 230")
    assert asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S)) == str(xterm)


@pytest.mark.parametrize(
    ("terminal", "title"),
    [
        ("", "No terminal emulator was found."),
        ("mine", "No terminal emulator was found ($TERMINAL is mine)."),
    ],
)
def test_without_a_terminal_the_hint_says_what_to_do(env: dict[str, str], terminal: str, title: str) -> None:
    """Without a terminal, the error explains what to do, and names a $TERMINAL that does not exist."""
    with pytest.raises(TrayagentError) as raised:
        asyncio.run(open_terminal(["ssh", "web"], env | {"TERMINAL": terminal}))
    assert (raised.value.title, raised.value.code) == (title, "no-terminal")
    assert "xterm" in raised.value.hint


def test_if_no_terminal_can_start_the_hint_says_why(env: dict[str, str], program: Program) -> None:
    """If no terminal can start, the error lists each terminal and its reason."""
    program("konsole", "exit 3")
    program("xterm").write_text("no program at all")
    with pytest.raises(TrayagentError, match="No terminal could be opened") as raised:
        asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S))
    assert "konsole: it ended with status 3; xterm: Exec format error." in raised.value.hint


@pytest.mark.parametrize("words", [[], ["-e", "web"]])
def test_words_that_a_terminal_would_take_for_its_own_are_refused(words: list[str]) -> None:
    """Words that a terminal would read as its own options raise ValueError, because only a bug can cause them."""
    with pytest.raises(ValueError, match="no program"):
        next(command_lines(words, {}))


def test_the_terminal_outlives_its_opener_and_leaves_no_zombie(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """The terminal runs in its own session. While the opener lives, an ended terminal is reaped."""
    program(
        "xterm",
        f"echo $$ > {tmp_path}/pid.part; /bin/mv {tmp_path}/pid.part {tmp_path}/pid; exec /bin/sleep 60",
    )
    opener = (
        "import asyncio, os, sys\n"
        "from trayagent.desktop.open_terminal import open_terminal\n"
        f"asyncio.run(open_terminal(['ssh', 'web'], {env!r}, 0.2))\n"
    )
    subprocess.run([sys.executable, "-c", opener], check=True, timeout=WITHIN_S)
    words_of(tmp_path, "xterm")
    pid = int(_read(tmp_path / "pid"))
    try:
        assert os.getsid(pid) == pid
        assert _state(pid) != "Z"
    finally:
        os.kill(pid, 9)


def test_an_ended_terminal_is_reaped(tmp_path: Path, env: dict[str, str], program: Program) -> None:
    """An ended terminal leaves no zombie, however long it ran."""
    program(
        "xterm",
        f"echo $$ > {tmp_path}/pid.part; /bin/mv {tmp_path}/pid.part {tmp_path}/pid; exec /bin/sleep 60",
    )

    async def open_and_end() -> None:
        await open_terminal(["ssh", "web"], env, 0.05)
        pid = int(await asyncio.to_thread(_read, tmp_path / "pid"))
        os.kill(pid, 9)
        deadline = time.monotonic() + WITHIN_S
        while _state(pid) is not None:
            assert time.monotonic() < deadline, "a zombie stays"
            await asyncio.sleep(0.01)

    asyncio.run(open_and_end())


def _read(path: Path) -> str:
    """Wait until a file exists, and return its content."""
    deadline = time.monotonic() + WITHIN_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.01)
    return path.read_text()


def _state(pid: int) -> str | None:
    """Return the state letter of a process (proc(5)), or None if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
