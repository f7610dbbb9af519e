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

from trayagent.desktop.terminal import BEFORE_WORDS, command_lines, open_terminal
from trayagent.errors import TrayagentError

WITHIN_S = 20.0
AT_ONCE_S = 5.0
"""Long enough for a busy machine to start a program that ends at once."""
WORDS = ["ssh", "--", "web 01; touch oops"]

Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return a function that puts a program on the PATH; it notes its words, then does what the test says."""

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
    """Return an environment in which only the test's terminals are found, and none of this machine's."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    return {"PATH": str(tmp_path / "bin")}


def words_of(tmp_path: Path, name: str) -> list[str]:
    """Return the words with which a program was started, once it was."""
    note, deadline = tmp_path / f"{name}.words", time.monotonic() + WITHIN_S
    while not note.exists():
        assert time.monotonic() < deadline, f"{name} was not started"
        time.sleep(0.01)
    return note.read_text().splitlines()


@pytest.mark.parametrize("name", BEFORE_WORDS)
def test_each_terminal_gets_the_words_as_they_are(
    tmp_path: Path, env: dict[str, str], program: Program, name: str
) -> None:
    """One by one, behind what this terminal wants in front; no shell splits or runs any of them."""
    path = program(name)
    assert asyncio.run(open_terminal(WORDS, env, AT_ONCE_S)) == str(path)
    assert words_of(tmp_path, name) == [*BEFORE_WORDS[name], *WORDS]
    assert not Path("oops").exists()


def test_terminal_comes_first_then_the_desktops_then_the_usual_ones(
    env: dict[str, str], program: Program
) -> None:
    """$TERMINAL may be any of the known ones, one unknown, or one with options of its own."""
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


def test_a_terminal_that_cannot_start_makes_room_for_the_next(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """One that is not there, one that is no program, one that ends at once with an error."""
    program("mine", "exit 1")
    program("gnome-terminal").write_text("no program at all")
    konsole = program("konsole")
    env = env | {"TERMINAL": "mine"}
    assert asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S)) == str(konsole)
    assert words_of(tmp_path, "mine") == words_of(tmp_path, "konsole") == ["-e", "ssh", "web"]


def test_a_command_that_fails_in_foot_is_not_started_in_a_second_terminal(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """Foot ends with the command's status, and with 230 for its own failures."""
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
def test_where_there_is_none_it_says_what_to_do(env: dict[str, str], terminal: str, title: str) -> None:
    """And names the $TERMINAL that does not exist."""
    with pytest.raises(TrayagentError) as raised:
        asyncio.run(open_terminal(["ssh", "web"], env | {"TERMINAL": terminal}))
    assert (raised.value.title, raised.value.code) == (title, "no-terminal")
    assert "xterm" in raised.value.hint


def test_where_none_could_start_it_says_why(env: dict[str, str], program: Program) -> None:
    """Each with its reason."""
    program("konsole", "exit 3")
    program("xterm").write_text("no program at all")
    with pytest.raises(TrayagentError, match="No terminal could be opened") as raised:
        asyncio.run(open_terminal(["ssh", "web"], env, AT_ONCE_S))
    assert "konsole: it ended with status 3; xterm: Exec format error." in raised.value.hint


@pytest.mark.parametrize("words", [[], ["-e", "web"]])
def test_words_that_a_terminal_would_take_for_its_own_are_refused(words: list[str]) -> None:
    """That is a mistake of ours, and no person's."""
    with pytest.raises(ValueError, match="no program"):
        next(command_lines(words, {}))


def test_the_terminal_outlives_who_opened_it_and_leaves_no_zombie(
    tmp_path: Path, env: dict[str, str], program: Program
) -> None:
    """It runs in a session of its own; while the opener lives, an ended terminal is reaped."""
    program(
        "xterm",
        f"echo $$ > {tmp_path}/pid.part; /bin/mv {tmp_path}/pid.part {tmp_path}/pid; exec /bin/sleep 60",
    )
    opener = (
        "import asyncio, os, sys\n"
        "from trayagent.desktop.terminal import open_terminal\n"
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
    """However long it lasted: the agent collects no zombies."""
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
    """Return what a file says, once it is there."""
    deadline = time.monotonic() + WITHIN_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.01)
    return path.read_text()


def _state(pid: int) -> str | None:
    """Return the kernel's letter for a process's state, None for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
