"""The icon in a real i3bar, whose tray knows only XEmbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.desktop.actors import BLUE, GREEN, RED, look
from tests.desktop.desk import Desk, run, until
from tests.desktop.test_agent_in_panel import lab_for_desktop, running
from trayagent.desktop.tray.xembed_tray import XEmbedTray, x_display


@dataclass
class Stage:
    """An icon that waits for a tray."""

    desk: Desk
    tray: XEmbedTray
    clicks: list[None] = field(default_factory=list)

    async def icon(self, colour: tuple[int, int, int]) -> tuple[int, int]:
        """Wait for the icon of this colour. Return its position."""
        found = await until(
            lambda: self.desk.find(colour), f"no icon: {self.tray.problem}\n{self.desk.words()}"
        )
        return int(found[0]), int(found[1])


@asynccontextmanager
async def stage(desk: Desk) -> AsyncIterator[Stage]:
    """Run the icon on a display without a tray."""
    desk.screen()
    clicks: list[None] = []
    tray = XEmbedTray(lambda: clicks.append(None), lambda: desk.environment, waits_s=(0.0, 0.1, 0.5))
    tray.show(look())
    tray.needed(True)
    try:
        yield Stage(desk, tray, clicks)
    finally:
        tray.needed(False)
        await tray.ended()


def test_the_icon_is_in_i3bar_and_a_click_is_reported(desk: Desk) -> None:
    """The icon appears when a tray starts, has its background, changes, reports a click, and moves to the next tray."""

    async def body() -> None:
        async with stage(desk) as at:
            await until(lambda: at.tray.problem is None, "the program runs")
            assert not at.tray.shown
            bar = desk.i3bar("#f0f0e0")
            x, y = await at.icon(RED)
            await until(lambda: at.tray.shown, "the tray is reported")
            desk.save("xembed")
            at.tray.show(look(GREEN, state="web01 is connected — “all” well"))
            await at.icon(GREEN)
            await desk.click(x, y)
            await until(lambda: at.clicks == [None], "the click is reported")
            await desk.click(x, y, button=3)
            desk.end(bar)
            await until(lambda: not at.tray.shown, "the end of the tray is noticed")
            at.tray.show(look(BLUE))
            desk.i3bar()
            await at.icon(BLUE)
            assert at.clicks == [None]
            at.tray.needed(False)
            await until(lambda: desk.find(BLUE) is None, "the icon is gone")

    run(body())


def test_a_click_on_the_icon_in_i3bar_opens_the_status_page(desk: Desk) -> None:
    """Without a StatusNotifierWatcher the agent uses XEmbed, and `status` shows that. The icon ends with the agent."""

    async def body() -> None:
        desk.screen()
        desk.bus()
        desk.i3bar("#102030")
        opened, opener = desk.folder / "opened", desk.folder / "bin/xdg-open"
        opener.parent.mkdir()
        opener.write_text(f'#!/bin/sh\necho "$1" > {opened}.new; mv {opened}.new {opened}\n')
        opener.chmod(0o755)
        desk.environment["PATH"] = f"{opener.parent}:{desk.environment['PATH']}"
        with lab_for_desktop() as lab, running(lab, desk, "PATH") as agent:
            await until(lambda: agent.status()["agent"]["tray"] == "XEmbed", "no icon")
            assert agent.status()["agent"]["no_tray"] is None
            white = (255, 255, 255)
            x, y = await until(lambda: desk.find(white), "the icon is white in a dark outline")
            desk.save("xembed-agent")
            await desk.click(int(x), int(y))
            await until(opened.exists, "the page is opened")
            assert opened.read_text().endswith("/status.html\n")
        await until(lambda: desk.find(white) is None, "the icon is gone")

    run(body())


def test_no_icon_is_put_on_wayland() -> None:
    """On Wayland no XEmbed icon is used: DISPLAY is set there, too, but its use would only start Xwayland."""
    assert x_display({"DISPLAY": ":0"}) == ":0"
    assert x_display({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}) is None
    assert x_display({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}) is None
    assert x_display({}) is None
