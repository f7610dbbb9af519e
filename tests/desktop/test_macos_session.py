"""The icon, notifications and terminals of a Mac, without AppKit and osascript, which only a Mac has."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.desktop import macos_terminal
from trayagent.desktop.macos_applescript import osascript, quoted
from trayagent.desktop.notifications.macos_osascript import OsascriptNotifier
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.tray.look import Entry, Look, Pixmap
from trayagent.desktop.tray.look_lines import decoded, encoded
from trayagent.desktop.tray.macos_icon import MenuBar
from trayagent.desktop.tray.macos_menu_bar import MenuBarTray

DEADLINE_S = 20.0


def look(*entries: Entry, colour: bytes = b"\xff\x00\x80\x00", tooltip: str = "all well") -> Look:
    """Return a look with pictures in two sizes."""
    return Look((Pixmap(1, colour), Pixmap(2, colour * 4)), "trayagent", tooltip, entries)


MENU = (
    Entry(("host", "web01"), "web01 “x”", "submenu", children=(Entry(("open", "web01"), "Open\nit"),)),
    Entry("line", kind="separator"),
    Entry(("pause",), "Pause", "checkbox", checked=True),
    Entry(("gone",), "gone", enabled=False),
)


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition is true."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  # another process causes it, so there is no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(what)


def program(folder: Path, name: str, text: str) -> Path:
    """Create an executable file."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o700)
    return path


# AppleScript.


def read_literal(literal: str) -> str:
    """Return the text of an AppleScript string literal. Fail if the literal ends early."""
    assert literal[0] == literal[-1] == '"'
    found, inside = "", iter(literal[1:-1])
    for char in inside:
        assert char != '"', "the literal ends early"
        found += {"n": "\n", "t": "\t"}.get(c := next(inside), c) if char == "\\" else char
    return found


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_no_text_leaves_its_literal(text: str) -> None:
    """AppleScript reads any name of a host, VPN or server as plain text."""
    assert read_literal(quoted(text)) == text


def test_control_characters_are_removed_from_a_message() -> None:
    """Control characters are removed, because an argument cannot contain a NUL and escapes have no meaning.

    Newlines stay.
    """
    assert quoted('a\0b\x1b[31m\n"c\\') == '"a b [31m\n\\"c\\\\"'
    assert osascript(["one", "two"]) == ["osascript", "-e", "one", "-e", "two"]


# Terminals.


def test_a_terminal_types_the_words_into_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are quoted for the shell and for AppleScript, and a real shell gets them back unchanged."""
    monkeypatch.setattr(macos_terminal, "_ITERM", (tmp_path,))
    words = ["printf", "%s|", 'it"s', "a b", "$HOME", "back\\slash", "o'clock", "new\nline"]
    env = {"TRAYAGENT_CONFIG": "/Users/me/my config.toml", "SECRET": "no"}
    iterm, terminal = macos_terminal.command_lines(words, env)
    assert 'tell application "iTerm"' in iterm
    assert 'tell application "Terminal"' in terminal
    typed = next(line for line in terminal if line.startswith("do script ")).removeprefix("do script ")
    assert any(typed in line for line in iterm)
    line = read_literal(typed)
    assert line.startswith("exec env 'TRAYAGENT_CONFIG=/Users/me/my config.toml' printf ")
    assert "SECRET" not in line
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(words[2:]) + "|"


def test_terminal_is_opened_where_there_is_no_iterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without iTerm, Terminal is used, which every Mac has. A first word that could be an option is refused."""
    monkeypatch.setattr(macos_terminal, "_ITERM", (tmp_path / "none",))
    (only,) = macos_terminal.command_lines(["top"], {})
    assert 'do script "exec top"' in only
    for bad in ([], ["-x"]):
        with pytest.raises(ValueError, match="no program"):
            next(macos_terminal.command_lines(bad, {}))


# Messages.


def test_messages_are_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is shown again only after it was withdrawn. After a failure, `problem` contains the error."""
    told = tmp_path / "told"
    program(tmp_path, "osascript", f'#!/bin/sh\nprintf "%s\\n" "$2" >> {shlex.quote(str(told))}\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    message = Message("vpn corp", 'Sign in to "corp"', "It is down.", urgency="critical")

    def lines() -> list[str]:
        return told.read_text().splitlines() if told.exists() else []

    async def body() -> None:
        notifier = OsascriptNotifier()
        notifier.show(message)
        notifier.show(message)
        await until(lambda: len(lines()) == 1, "it is shown")
        notifier.withdraw(message.key)
        notifier.show(message)
        await until(lambda: len(lines()) == 2, "it is shown again")
        await until(lambda: not notifier._tasks, "osascript has ended")
        assert notifier.problem is None
        (tmp_path / "osascript").write_text("#!/bin/sh\necho 'no permission' >&2; exit 1\n")
        notifier.show(Message("other", "t", "x"))
        await until(lambda: notifier.problem == "osascript: no permission", "the failure is reported")
        notifier.close()

    asyncio.run(body())
    expected = 'display notification "It is down." with title "Sign in to \\"corp\\"" sound name "default"'
    assert lines() == [expected] * 2


# The icon.


class Icon:
    """A fake of pystray's Icon that records changes and the threads that make them."""

    threads: set[str]
    told: list[tuple[str, Any]]

    def __init__(self, name: str, image: Any, title: str, menu: Any) -> None:
        self.__dict__.update(name=name, image=image, told=[("title", title), ("menu", menu)], threads=set())
        self._stopped = threading.Event()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self.threads.add(threading.current_thread().name)
            self.told.append((name, value))
        self.__dict__[name] = value

    def run(self, setup: Callable[[Any], None]) -> None:
        """Call `setup` on another thread, as pystray does."""
        threading.Thread(target=setup, args=(self,), name="setup").start()

    def stop(self) -> None:
        """Record the call."""
        self._stopped.set()


def test_a_look_survives_the_line_format() -> None:
    """The line format keeps kinds, texts, states, children and the largest picture. Keys become numbers."""
    keys: list[Hashable] = []

    def number(key: Hashable) -> int:
        keys.append(key)
        return len(keys) - 1

    line = encoded(look(*MENU), number)
    assert line.count("\n") == 1
    found = decoded(line)
    assert found.pixmaps == look().pixmaps
    assert found.tooltip == "all well"
    host, separator, pause, gone = found.menu
    assert (host.label, host.kind, host.children[0].label) == ("web01 “x”", "submenu", "Open\nit")
    assert (separator.kind, pause.checked, gone.enabled) == ("separator", True, False)
    assert [keys[int(str(item.key))] for item in (host, host.children[0], pause)] == [
        ("host", "web01"), ("open", "web01"), ("pause",),
    ]  # fmt: skip


def test_only_the_main_thread_touches_the_icon() -> None:
    """Only the main thread calls the icon, as AppKit requires.

    The reader's and pystray's threads pass their work to it.
    """
    queue: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    chosen: list[Hashable] = []
    made: list[Icon] = []
    numbers: dict[Hashable, int] = {}

    def number(key: Hashable) -> int:
        return numbers.setdefault(key, len(numbers))

    def icon(*args: Any) -> Icon:
        made.append(Icon(*args))
        return made[0]

    lines = [
        encoded(look(*MENU), number),
        encoded(look(*MENU, tooltip="one is down"), number),
        encoded(look(*MENU, colour=b"\xff\xff\x00\x00"), number),
    ]
    bar = MenuBar(icon, lambda work, *args: queue.append((work, args)), chosen.append)
    bar.run(lines)
    limit = threading.Event()
    for _ in range(2000):  # the two threads pass four calls to the main thread: appear, two looks, the end
        if len(queue) == 4:
            break
        limit.wait(0.01)
    (shown,) = made
    assert shown.threads == set()
    assert len(queue) == 4
    for work, args in queue:
        work(*args)
    assert shown.threads == {threading.main_thread().name}
    told = [name for name, _ in shown.told]
    assert told.count("icon") == 1  # a picture is set only if it changed
    assert dict(shown.told)["title"] == "all well"
    assert ("visible", True) in shown.told
    assert shown._stopped.is_set()
    items = list(dict(shown.told)["menu"].items)
    items[0].submenu.items[0](shown)
    assert chosen == [numbers["open", "web01"]]
    MenuBar(icon, lambda *_: None, chosen.append).run([])  # without a look there is no icon
    assert len(made) == 1


# A fake icon program that chooses every item that it gets, and records the lines.
CHOOSER = """
import json, sys
for line in sys.stdin:
    with open(sys.argv[1], "a") as file:
        file.write(line)
    for item in json.loads(line)["menu"]:
        print(item["number"], flush=True)
    print("rubbish", 99, flush=True)
"""


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run the body on a loop."""

    async def main() -> None:
        await body()

    asyncio.run(main())


def test_the_icons_program_gets_looks_and_returns_choices(tmp_path: Path) -> None:
    """The icon's program gets each look once, and returns choices as keys. A number never means another item."""
    told, chosen = tmp_path / "told", list[Hashable]()

    async def body() -> None:
        words = [sys.executable, "-c", CHOOSER, str(told)]
        tray = MenuBarTray(chosen.append, program=words, interval_s=0.0)
        tray.show(look(Entry("a", "A")))
        await until(lambda: chosen == ["a"], "the first is chosen")
        assert tray.problem is None
        tray.show(look(Entry("a", "A")))
        tray.show(look(Entry("b", "B"), Entry("a", "A")))
        await until(lambda: chosen == ["a", "b", "a"], "both are chosen")
        tray.close()
        await tray.ended()
        assert tray.problem is not None
        tray.show(look())  # a view may still arrive after the end

    run(body)
    numbers = [
        [item["number"] for item in json.loads(line)["menu"]] for line in told.read_text().splitlines()
    ]
    assert numbers == [[0], [1, 0]]


def test_a_program_that_fails_is_reported_and_started_again_later(tmp_path: Path) -> None:
    """A failure does not end the agent. After the waiting time, a new look starts the program again."""
    mark = tmp_path / "mark"
    text = f"#!/bin/sh\n[ -e {mark} ] && exec cat >> {mark}\necho first >&2\necho 'no AppKit' >&2\nexit 3\n"

    async def body() -> None:
        tray = MenuBarTray(
            lambda _: None, program=[str(program(tmp_path, "icon", text))], interval_s=0.0, retry_s=0.0
        )
        tray.show(look(tooltip="one"))
        await until(lambda: "no AppKit" in (tray.problem or ""), "the failure is reported")
        assert tray.problem == "the menu bar's program ended with status 3: no AppKit"
        mark.touch()
        tray.show(look(tooltip="two"))
        await until(lambda: '"two"' in mark.read_text(), "it gets the current look")
        tray.close()
        await tray.ended()
        absent = MenuBarTray(lambda _: None, program=[str(tmp_path / "absent")], interval_s=0.0)
        absent.show(look())
        await until(lambda: "could not be started" in (absent.problem or ""), "it is reported")
        absent.close()
        await absent.ended()

    run(body)


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """The agent kills an icon program that does not end."""
    pid = tmp_path / "pid"

    async def body() -> None:
        text = f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}\ntrap '' TERM\nexec sleep 600\n"
        tray = MenuBarTray(lambda _: None, program=[str(program(tmp_path, "icon", text))], interval_s=0.0)
        tray.show(look())
        await until(pid.exists, "it runs")
        tray.close()
        await tray.ended()

    run(body)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
