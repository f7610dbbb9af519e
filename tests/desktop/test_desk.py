"""The desk, which connects an agent to the session bus: it carries out the user's choices, and shows failures."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from tests.cli.conftest import FakeAgent
from tests.desktop.actors import FakeServer, FakeWatcher, Panel, called
from tests.desktop.desk import Desk as Desktop
from tests.desktop.desk import run, until
from tests.desktop.test_menu import host, problem, view, vpn
from trayagent.desktop.icon.icon_theme import icon_name
from trayagent.desktop.icon_menu_and_messages import SETTLED_S, Desk
from trayagent.desktop.menu_actions import Choices, Files
from trayagent.presentation.summary import OVERALLS

EMFILE = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
NO_PROGRAMS = {"PATH": "/nonexistent", "TERMINAL": "noterm"}


class Door:
    """A fake agent that shows one view and records its calls."""

    def __init__(self, seen: Any, error: Exception | None = None) -> None:
        self.error = error
        self.seen, self.asked, self.said = seen, list[tuple[str, Any]](), list[tuple[str, str]]()
        self.push: Callable[[Any], None] = lambda _: None

    def watch(self, push: Callable[[Any], None]) -> Callable[[], None]:
        """Push the view once."""
        self.push = push
        push(self.seen)
        return lambda: None

    def sign_ins(self) -> frozenset[str]:
        """Return the VPN corp, which has a sign-in command."""
        return frozenset({"corp"})

    def notify(self) -> Any:
        """Return "problems", the default."""
        return "problems"

    def opened(self) -> None:
        """Record the call."""
        self.asked.append(("opened", None))

    def sign_in_failure(self, vpn: str, said: str) -> None:
        """Record the call."""
        self.said.append((vpn, said))

    async def request(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        """Record the call."""
        if self.error is not None:
            raise self.error
        self.asked.append((op, args))
        return {}

    async def activate(self, vpn: str) -> None:
        """Record the call."""
        self.asked.append(("activate", vpn))


@asynccontextmanager
async def shown(
    desktop: Desktop,
    tmp_path: Path,
    seen: Any,
    words: tuple[str, ...] | None = None,
    env: Mapping[str, str] = NO_PROGRAMS,
    error: Exception | None = None,
    *,
    messages: bool = True,
) -> AsyncIterator[tuple[Door, Panel, FakeServer]]:
    """Show a view on a private bus. Yield the agent's side, the panel's side and the notification server.

    Without `messages`, the notification server leaves at once.
    """
    address = desktop.bus()
    watcher, server = await FakeWatcher().take(address), await FakeServer().take(address)
    if not messages:
        server.leave()
    door = Door(seen, error)
    choices = Choices(
        door.request,
        quit_=lambda: None,
        files=Files(tmp_path / "config.toml", tmp_path / "log", lambda: ""),
        sign_in_words=lambda _: words,
        activate=door.activate,
        start_at_login=lambda _: None,
        environment=lambda: env,
    )
    made = Desk(door, choices, start_at_login=lambda: None, buses=lambda: [address])
    made.start()
    await until(lambda: watcher.registered, "registered")
    panel = await Panel.on(address, watcher.registered[0])
    try:
        yield door, panel, server
    finally:
        panel.close()
        await made.close()
        if messages:
            server.leave()
        watcher.leave()


async def choose(panel: Panel, text: str) -> None:
    """Click on the first item whose label has the text."""
    items = await panel.items()
    number = next(item[0] for label, item in items.items() if text in label)
    await panel.ask("Event", "isvu", number, "clicked", Variant("s", ""), 0)


def test_the_agent_is_notified_when_the_menu_opens(desk: Desktop, tmp_path: Path) -> None:
    """When the panel opens the menu, the agent is notified, so that it can count the sessions of draining masters."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web"))) as (door, panel, _):
            await panel.ask("AboutToShow", "i", 0)
            assert ("opened", None) in door.asked

    run(body())


def test_gnome_gets_a_short_menu_in_which_every_host_can_be_reached(desk: Desktop, tmp_path: Path) -> None:
    """GNOME's extension unfolds submenus in place, so the menu is short.

    A chosen host under "more hosts" moves to the top.
    """

    async def body() -> None:
        names = ("a_1_x", "b", "c", "d", "e_1_x", "f")
        (tmp_path / "config.toml").touch()  # with a configuration, the menu begins with its headline

        async def root() -> list[str]:
            _, (_, _, children) = await panel.ask("GetLayout", "iias", 0, 1, ["label"])
            return [child.value[1]["label"].value for child in children if "label" in child.value[1]]

        async def first_is(text: str) -> None:
            while not (await root())[1].startswith(text):  # noqa: ASYNC110  # no event: the panel is another client
                await asyncio.sleep(0.01)

        with called("gnome-shell"):
            async with shown(desk, tmp_path, view(*[host(name) for name in names])) as (_, panel, _):
                await first_is("● a__1_x")
                assert (await root())[5] == "2 more hosts"
                await choose(panel, "e__1_x")
                await first_is("● e__1_x")
                await choose(panel, "Back to all 6 hosts")
                await first_is("● a__1_x")

    run(body())


@pytest.mark.parametrize("gnome", [True, False])
def test_gnome_gets_the_labels_with_the_layout(desk: Desktop, tmp_path: Path, gnome: bool) -> None:
    """GNOME's extension requests only two properties with the layout, and draws the lines before it gets the others."""

    async def body() -> None:
        with called("gnome-shell" if gnome else "waybar"):
            async with shown(desk, tmp_path, view(host("web"))) as (_, panel, _):
                _, (_, _, lines) = await panel.ask("GetLayout", "iias", 0, -1, ["type", "children-display"])
                labels = [line.value[1]["label"].value for line in lines if "label" in line.value[1]]
                assert ("Reconnect all" in labels) is gnome

    run(body())


@pytest.mark.parametrize("runs", [True, False])
def test_a_left_click_opens_the_status_page(
    desk: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    """A left click writes the status page and opens it in the browser.

    If that fails, a notification shows the reason.
    """
    opened, programs = tmp_path / "opened", tmp_path / "bin"
    programs.mkdir()
    (programs / "xdg-open").write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    (programs / "xdg-open").chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("TRAYAGENT_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TRAYAGENT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    agent = FakeAgent(tmp_path / "run" / "agent.sock") if runs else None

    async def body() -> None:
        env = {"PATH": os.environ["PATH"]}
        async with shown(desk, tmp_path, view(host("web")), env=env) as (_, panel, server):
            await panel.ask("Activate", "ii", 0, 0, on="org.kde.StatusNotifierItem")
            if runs:
                await until(opened.exists, "opened")
                await until(opened.read_text, "opened")
                page = tmp_path / "status.html"
                assert opened.read_text().strip() == page.as_uri()
                assert "web01" in page.read_text()
                assert page.stat().st_mode & 0o777 == 0o600
            else:
                await until(lambda: server.shown, "the message")
                assert server.shown[0][1][1] == "No agent is running."
                assert not opened.exists()

    try:
        run(body())
    finally:
        if agent is not None:
            agent.close()


@pytest.mark.parametrize(
    ("program", "menu_opens"), [("kded6", False), ("xfce4-panel", True), ("waybar", True)]
)
def test_a_left_click_does_what_the_users_of_the_panel_expect(
    desk: Desktop, tmp_path: Path, program: str, menu_opens: bool
) -> None:
    """On Plasma a left click activates the icon. Other panels that read ItemIsMenu open the menu."""

    async def body() -> None:
        with called(program):
            async with shown(desk, tmp_path, view(host("web"))) as (_, panel, _):
                icon = await panel.properties("org.kde.StatusNotifierItem")
                assert icon["ItemIsMenu"] is menu_opens

    run(body())


@pytest.mark.parametrize(
    ("program", "named"), [("kded6", True), ("gnome-shell", True), ("waybar", False), ("xfce4-panel", False)]
)
def test_only_panels_that_recolour_an_icon_get_its_name(
    desk: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, named: bool
) -> None:
    """Waybar shows an icon of the theme in the file's own grey, which vanishes on its blue. It gets only the pixels."""
    icons = tmp_path / "icons" / "hicolor" / "symbolic" / "apps"
    icons.mkdir(parents=True)
    for overall in OVERALLS:
        (icons / f"{icon_name(overall)}.svg").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    async def body() -> None:
        with called(program):
            async with shown(desk, tmp_path, view(host("web"))) as (_, panel, _):
                icon = await panel.properties("org.kde.StatusNotifierItem")
                assert icon["IconName"] == (icon_name("all-connected") if named else "")
                assert icon["IconPixmap"]
                # At a scale of 2, Plasma draws an icon for attention larger than the usual one, and blurred.
                attention = icon["AttentionIconName"], icon["AttentionIconPixmap"]
                assert attention == (
                    ("", []) if program == "kded6" else (icon["IconName"], icon["IconPixmap"])
                )

    run(body())


@pytest.mark.parametrize(
    ("hosts", "title", "headline"),
    [
        ((host("web"),), "trayagent: all connected", "1 of 1 connected · wlan0"),
        ((host("web"), host("db", "failed")), "trayagent: you are needed", "1 of 2 connected · wlan0"),
        ((), "trayagent: nothing to connect", "No hosts yet · wlan0"),
    ],
)
def test_the_state_is_in_words_for_a_screen_reader(
    desk: Desktop, tmp_path: Path, hosts: tuple[Any, ...], title: str, headline: str
) -> None:
    """The title and the accessible description contain the state that the icon shows."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(*hosts)) as (_, panel, _):
            icon = await panel.properties("org.kde.StatusNotifierItem")
            assert icon["Title"] == title
            assert icon["IconAccessibleDesc"] == icon["AttentionAccessibleDesc"] == f"{title}. {headline}"
            assert icon["ToolTip"][2:] == (title, icon["ToolTip"][3])
            assert icon["ToolTip"][3].startswith(headline)
            assert icon["Category"] == "SystemServices"

    run(body())


@pytest.mark.parametrize(
    ("choice", "used"), [("Reconnect all", False), ("Open terminal", True), ("e", False)]
)
def test_a_token_that_opens_no_window_is_refused(
    desk: Desktop, tmp_path: Path, choice: str, used: bool
) -> None:
    """A choice that opens no window refuses the click's token, because GNOME's pointer spins until then."""
    names = ("a", "b", "c", "d", "e", "f")
    terminal = tmp_path / "term"
    terminal.write_text(
        f'#!/bin/sh\necho "$XDG_ACTIVATION_TOKEN" > {tmp_path}/token.part\nmv {tmp_path}/token.part {tmp_path}/token\n'
    )
    terminal.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TERMINAL": str(terminal)}

    async def body() -> None:
        with called("gnome-shell"):
            async with shown(desk, tmp_path, view(*[host(name) for name in names]), env=env) as (_, panel, _):
                items = await panel.items()
                number = next(item[0] for label, item in items.items() if f" {choice} " in f" {label} ")
                token = asyncio.ensure_future(
                    panel.ask("ProvideXdgActivationToken", "s", "t0", on="org.kde.StatusNotifierItem")
                )
                await asyncio.sleep(0)
                await panel.ask("Event", "isvu", number, "clicked", Variant("s", ""), 0)
                answer = await token
                assert answer == ([] if used else "org.freedesktop.DBus.Error.Failed")
                if used:
                    await until((tmp_path / "token").exists, "the terminal")
                    assert (tmp_path / "token").read_text() == "t0\n"

    run(body())


def test_a_token_without_a_choice_is_accepted_soon(desk: Desktop, tmp_path: Path) -> None:
    """A token without a choice is accepted soon, because the panel waits for that before it reports the click."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web"))) as (_, panel, _):
            answer = await panel.ask("ProvideXdgActivationToken", "s", "t0", on="org.kde.StatusNotifierItem")
            assert answer == []

    run(body())


def test_a_choice_that_cannot_be_carried_out_is_reported(desk: Desktop, tmp_path: Path) -> None:
    """If neither $TERMINAL nor another terminal exists, one notification explains what to do."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web"))) as (_, panel, server):
            await choose(panel, "Open terminal")
            await until(lambda: server.shown, "the message")
            title, text = server.shown[0][1][1:3]
            assert "noterm" in title
            assert "xterm" in text

    run(body())


def test_an_unexpected_error_of_a_choice_is_reported(desk: Desktop, tmp_path: Path) -> None:
    """An unexpected error is also shown, because a click must never be without any effect."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web")), error=EMFILE) as (_, panel, server):
            await choose(panel, "Reconnect")
            await until(lambda: server.shown, "the message")
            assert server.shown[0][1][1] == "That could not be done: Too many open files."

    run(body())


def test_without_messages_the_menu_shows_why_a_choice_failed(desk: Desktop, tmp_path: Path) -> None:
    """If no notification server shows the failure, the menu does, until the user chooses something else."""

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web")), messages=False) as (door, panel, _):
            await choose(panel, "Open terminal")
            title = "▲ No terminal emulator was found ($TERMINAL is noterm)."
            lines = await lines_with(panel, title)
            assert "Install one, for example xterm, or set TERMINAL to yours.\n" in lines
            await choose(panel, "Reconnect all")
            await until(lambda: ("reconnect", {"hosts": []}) in door.asked, "reconnected")
            await lines_with(panel, title, there=False)

    run(body())


async def lines_with(panel: Panel, text: str, *, there: bool = True) -> str:
    """Wait until a line of the menu has this text, or until no line has it. Return all lines. `run` limits the time."""
    while (text in (items := await panel.items())) is not there:
        await panel.ask("AboutToShow", "i", 0)
    return "\n".join(items).replace("__", "_")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_status_page_that_no_browser_opens_is_shown_in_a_terminal(
    desk: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """The terminal shows the path of the page, and the status. Without a terminal, the menu shows the path."""
    printed, programs = tmp_path / "printed", tmp_path / "bin"
    programs.mkdir()
    # The terminal runs its command, and no key is pressed.
    for name, script in (
        ("xdg-open", "exit 3"),
        ("term", f'shift; "$@" < /dev/null > {printed}.part 2>&1; mv {printed}.part {printed}'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("TRAYAGENT_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TRAYAGENT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    agent = FakeAgent(tmp_path / "run" / "agent.sock")
    env = {**os.environ, "TERMINAL": "term"} if terminal else NO_PROGRAMS

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web")), env=env, messages=False) as (_, panel, _):
            await panel.ask("Activate", "ii", 0, 0, on="org.kde.StatusNotifierItem")
            page = tmp_path / "status.html"
            if terminal:
                await until(printed.exists, "no terminal")
                told = printed.read_text()
                assert f"No program opened the status page. Its file: {page}\n" in told
                assert "web01" in told.partition(str(page))[2]
            else:
                lines = await lines_with(panel, "▲ xdg-open could not open it (status 3).")
                assert page.as_uri() in lines.replace("\n", "")

    try:
        run(body())
    finally:
        agent.close()


def test_the_pause_that_was_chosen_is_marked(desk: Desktop, tmp_path: Path) -> None:
    """The menu marks "1 hour" after that choice.

    The agent knows only the pause's end, so the desk stores the choice.
    """

    async def body() -> None:
        async with shown(desk, tmp_path, view(host("web"))) as (door, panel, _):
            await choose(panel, "For 1 hour")
            await until(lambda: door.asked, "asked of the agent")
            assert door.asked == [("pause", {"hosts": [], "for_s": 3600.0})]
            end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            door.push(view(host("web", "paused"), agent={"paused": True, "paused_until": end}))
            await until(lambda: panel.signals, "told")
            marked = {k: props.get("toggle-state") for k, (_, props) in (await panel.items()).items()}
            assert (marked["For 1 hour"], marked["For 30 minutes"]) == (1, 0)

    run(body())


def test_a_configuration_with_a_mistake_is_opened_by_its_message(desk: Desktop, tmp_path: Path) -> None:
    """The button opens the rejected file in the editor.

    Without a terminal for the editor, a second notification reports that.
    """

    async def body() -> None:
        seen = view(host("web"), agent={"config_error": "line 3"})
        async with shown(desk, tmp_path, seen, env={**NO_PROGRAMS, "EDITOR": "vi"}) as (_, _, server):
            await until(lambda: server.shown, "the message")
            number, (_, title, text, actions, *_) = server.shown[0]
            assert (title, text) == (
                "The configuration has a mistake",
                "line 3\nThe previous one stays in force.",
            )
            assert actions[:2] == ["edit", "Edit"]
            server.ActionInvoked(number, "edit")
            await until(lambda: len(server.shown) > 1, "why it could not be opened")
            assert (tmp_path / "config.toml").exists()

    run(body())


@pytest.mark.parametrize("waits", [True, False])
def test_a_sign_in_that_fails_is_reported_once(desk: Desktop, tmp_path: Path, waits: bool) -> None:
    """The error appears in the VPN's notification if a host waits for the VPN, otherwise in a separate notification."""

    async def body() -> None:
        corp = vpn("corp", "needs-sign-in" if waits else "down", "web")
        corp["problem"] = problem("vpn-needs-sign-in") if waits else None
        seen = view(host("web", "needs-vpn"), vpns=[corp])
        async with shown(desk, tmp_path, seen, ("/bin/sh", "-c", "echo wrong code; exit 1")) as parts:
            door, panel, server = parts
            await choose(panel, "Sign in to corp")
            await until(lambda: door.said, "told to the agent")
            name, said = door.said[0]
            assert name == "corp"
            assert "wrong code" in said
            await asyncio.sleep(2 * SETTLED_S)  # no event reports that there is no other notification
            assert len(server.shown) == (0 if waits else 1)

    run(body())
