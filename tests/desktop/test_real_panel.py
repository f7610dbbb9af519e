"""The icon in a real xfce4-panel. The tests find it by its colour, and use mouse and keyboard.

Set TRAYAGENT_PICTURES to a directory to keep pictures of the screen.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.desktop.actors import BLUE, GREEN, RED, look
from tests.desktop.desk import Desk, run, until
from trayagent.desktop.session_bus import SessionBus
from trayagent.desktop.tray.linux_tray import StatusNotifierTray


@dataclass
class Stage:
    """A tray on a desktop with a real panel."""

    desk: Desk
    tray: StatusNotifierTray
    chosen: list[Any] = field(default_factory=list)

    async def icon(self, colour: tuple[int, int, int] = RED) -> tuple[int, int]:
        """Wait for the icon of this colour. Return its position."""
        found = await until(lambda: self.desk.find(colour), f"no icon of {colour}: {self.tray.problem}")
        return int(found[0]), int(found[1])

    async def open_menu(self, button: int = 3) -> bytes:
        """Click on the icon until its menu is open. Return the earlier pixels below the panel."""
        at, empty = await self.icon(), self.desk.below()
        await self.desk.click(*at, button=button)
        await until(lambda: self.desk.below() != empty, "no menu")
        await self.desk.still()
        return empty


@asynccontextmanager
async def stage(desk: Desk) -> AsyncIterator[Stage]:
    """Run a tray on a desktop with a display and a bus. The test starts the panel."""
    desk.screen()
    desk.bus()
    chosen: list[Any] = []
    tray = StatusNotifierTray(chosen.append)
    bus = SessionBus([tray], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]])
    tray.show(look())
    bus.start()
    try:
        yield Stage(desk, tray, chosen)
    finally:
        await bus.close()


def test_the_icon_appears_and_changes_with_the_state(desk: Desk) -> None:
    """A panel that runs before the tray shows the icon, and each new picture."""

    async def body() -> None:
        async with stage(desk) as at:
            desk.panel()
            await at.icon(RED)
            assert at.tray.problem is None
            at.tray.show(look(GREEN))
            await at.icon(GREEN)
            desk.save("icon")
            assert desk.find(RED) is None

    run(body())


def test_either_button_opens_the_menu_and_the_keyboard_chooses(desk: Desk) -> None:
    """Choosing an action in a submenu, a radio item or a checkbox by keyboard reaches the agent."""

    async def body() -> None:
        async with stage(desk) as at:
            desk.panel()
            await at.open_menu(button=1)
            desk.save("menu")
            await desk.keys("Down", "Right", "Down", "Return")  # the headline cannot be chosen
            await until(lambda: at.chosen == [("web_01", "Disconnect")], f"an action: {at.chosen}")
            await at.desk.still()
            await at.open_menu(button=3)
            await desk.keys("Down", "Down", "Down", "Down", "Right", "Down")
            await at.desk.still()
            desk.save("radio")
            await desk.keys("Return")
            await until(lambda: at.chosen[1:] == [("pause", "1 hour")], f"a radio item: {at.chosen}")
            await at.desk.still()
            await at.open_menu()
            await desk.keys("Up", "Up", "Return")
            await until(lambda: at.chosen[2:] == ["login"], f"a checkbox: {at.chosen}")

    run(body())


def test_an_update_changes_an_open_menu_and_leaves_it_open(desk: Desk) -> None:
    """Labels and states change while the menu is open, and a new host does not close it either."""

    async def body() -> None:
        async with stage(desk) as at:
            desk.panel()
            empty = await at.open_menu()
            before = await at.desk.still()
            at.tray.show(look(GREEN, state="offline", chosen="1 hour"))
            await at.icon(GREEN)
            await until(lambda: desk.below() not in (empty, before), "the open menu shows the new labels")
            relabelled = await at.desk.still()
            assert relabelled != empty
            desk.save("updated")
            at.tray.show(look(BLUE, state="offline", hosts=("web_01", "db", "mail")))
            await until(lambda: desk.below() not in (empty, relabelled), "the open menu shows the new host")
            assert await at.desk.still() != empty
            desk.save("grown")
            await desk.keys("Down", "Down", "Down", "Right", "Return")
            await until(lambda: at.chosen == [("mail", "Reconnect")], f"the new host's action: {at.chosen}")

    run(body())


def test_an_agent_before_any_panel_and_a_panel_that_was_killed(desk: Desk) -> None:
    """The icon appears when the first panel starts, and again in the next panel."""

    async def body() -> None:
        async with stage(desk) as at:
            await until(lambda: "no panel" in (at.tray.problem or ""), "the missing panel is reported")
            panel: subprocess.Popen[bytes] = desk.panel()
            await at.icon()
            desk.end(panel)
            await until(lambda: at.tray.problem is not None, "its end is noticed")
            await until(lambda: desk.find(RED) is None, "the panel is gone from the screen")
            at.tray.show(look(GREEN))
            desk.panel()
            await at.icon(GREEN)
            assert at.tray.problem is None

    run(body())


def test_a_hundred_pictures_do_not_harm_the_panel(desk: Desk) -> None:
    """After a second of the fastest changes the panel still runs, with the last picture."""

    async def body() -> None:
        async with stage(desk) as at:
            panel = desk.panel()
            await at.icon()
            for i in range(100):
                at.tray.show(look((GREEN, RED)[i % 2], state=f"at {i}"))
                await asyncio.sleep(0.01)
            at.tray.show(look(BLUE))
            await at.icon(BLUE)
            assert panel.poll() is None

    run(body())
