"""pystray's Icon in a real panel: the agent's looks use it, and our back end implements it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.desktop.actors import GREEN, RED, FakeServer, look
from tests.desktop.desk import Desk, run, until
from trayagent.desktop.tray.pystray_icon import PystrayTray, image, import_pystray


def linux_icon() -> Any:
    """Import our back end for pystray. Import it late, because it imports pystray."""
    from trayagent.desktop.tray.pystray_linux import Icon

    return Icon


def test_pystray_is_imported_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing pystray contacts no X server, because trayagent selects its own back end first."""
    monkeypatch.delenv("DISPLAY", raising=False)
    assert import_pystray().Menu
    assert os.environ["PYSTRAY_BACKEND"] == "dummy"


def test_the_agents_look_in_a_real_panel_through_pystray(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Icon, menu, radio item, update and stop work as they do on macOS, in xfce4-panel."""

    async def body() -> None:
        desk.screen()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", desk.bus())
        desk.panel()
        chosen: list[Any] = []
        tray = PystrayTray(chosen.append, linux_icon())
        tray.show(look(RED))
        x, y = await until(lambda: desk.find(RED), "the icon")
        tray.show(look(GREEN, chosen="1 hour"))
        await until(lambda: desk.find(GREEN), "the new icon")
        empty = desk.below()
        await desk.click(x, y, button=3)
        await until(lambda: desk.below() != empty, "the menu")
        await desk.still()
        await desk.keys("Down", "Down", "Down", "Down", "Right", "Down", "Down", "Return")
        await until(lambda: chosen == [("pause", "Until I resume")], f"chosen: {chosen}")
        served = tray._icon.served
        tray.close()
        tray.close()
        await asyncio.wait_for(served, 10)
        await until(lambda: desk.find(GREEN) is None, "the icon is gone")

    run(body())


def test_an_icon_is_shown_from_any_thread_hidden_and_shown_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` serves the icon on its own loop; `visible`, `notify` and `stop` are called from other threads."""

    async def body() -> None:
        desk.screen()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", desk.bus())
        desk.panel()
        server = await FakeServer().take(desk.environment["DBUS_SESSION_BUS_ADDRESS"])
        icon = linux_icon()("test", image(look(RED)), "a title", None)
        thread = threading.Thread(target=icon.run)
        thread.start()
        try:
            await until(lambda: desk.find(RED), f"the icon: {icon.problem}")
            icon.visible = False
            await until(lambda: desk.find(RED) is None, "hidden")
            icon.visible = True
            await until(lambda: desk.find(RED), "shown again")
            icon.notify("a message")
            await until(lambda: server.shown, "shown")
            assert server.shown[0][1][1:3] == ["a title", "a message"]
            icon.remove_notification()
            await until(lambda: server.closed, "withdrawn")
        finally:
            icon.stop()
        await until(lambda: not thread.is_alive(), "stopped")
        server.leave()

    run(body())


def test_an_update_sends_pystray_only_what_changed() -> None:
    """An update converts the picture only if the picture changed."""

    class Recorder:
        def __init__(self, *of_icon: Any) -> None:
            self.said: list[str] = []
            self.of_icon = of_icon
            self.run_detached: Callable[[], None] = lambda: self.said.append("run_detached")

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name in {"icon", "title", "menu"}:
                self.said.append(name)

    tray = PystrayTray(lambda _: None, Recorder)
    tray.show(look(RED))
    tray.show(look(RED, tooltip="1 of 2"))
    tray.show(look(GREEN))
    assert tray._icon.said == ["run_detached", "title", "menu", "icon", "title", "menu"]
    assert image(look(GREEN)).getpixel((5, 5)) == (*GREEN, 255)


def test_each_kind_of_pystrays_items_keeps_its_kind() -> None:
    """Each kind of pystray item keeps its kind: a checked item is a checkbox or a radio item.

    Only enabled items have a command.
    """
    pystray = import_pystray()
    chosen: list[str] = []
    item = pystray.MenuItem
    menu = pystray.Menu(
        item("plain", lambda: chosen.append("plain")),
        item("box", lambda: None, checked=lambda _: True),
        item("one of", lambda: None, checked=lambda _: False, radio=True),
        pystray.Menu.SEPARATOR,
        item("more", pystray.Menu(item("below", lambda: chosen.append("below"), enabled=False))),
    )
    icon = linux_icon()("test", image(look(RED)), "a title", menu)
    entries = icon._entries(icon.menu, ())
    told = [(e.label, e.kind, e.checked, e.enabled) for e in (*entries, *entries[-1].children)]
    assert told == [
        ("plain", "action", False, True),
        ("box", "checkbox", True, True),
        ("one of", "radio", False, True),
        ("", "separator", False, True),
        ("more", "submenu", False, True),
        ("below", "action", False, False),
    ]
    for entry in (*entries, *entries[-1].children):
        icon._activated(entry.key)
    assert chosen == ["plain", "below"]
