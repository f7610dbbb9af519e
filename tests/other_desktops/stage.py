"""The agent on a desktop of the Debian tree: finds its icon, opens its menu, and takes pictures."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageChops

from tests.desktop.desk import Desk, until
from tests.other_desktops.desktops import HEIGHT, START_S, WIDTH, Desktop
from trayagent.sandbox import Agent, Lab

WATCHER = "org.kde.StatusNotifierWatcher"
SESSION = (
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CURRENT_DESKTOP",
    "XDG_SESSION_TYPE",
    "PATH",
)
"""The variables that the agent gets from the desktop."""
AWAY = (WIDTH // 3, HEIGHT // 2)
"""Where the pointer is on neither the panel nor a menu."""
MARGIN = 8
"""Pixels around a menu or a message in a picture."""
RECORDER = '#!/bin/sh\necho "$*" >> {log}\n'

Box = tuple[int, int, int, int]


class Screen(Desk):
    """A desktop of the tree. `opened` lists the addresses that were opened, `terminals` the commands in terminals."""

    def __init__(self, desktop: Desktop) -> None:
        super().__init__()
        self.desktop = desktop
        self.opened, self.terminals = self.folder / "opened", self.folder / "terminals"
        programs = self.folder / "bin"
        programs.mkdir()
        for name, log in (("xdg-open", self.opened), ("xdg-terminal-exec", self.terminals)):
            (programs / name).write_text(RECORDER.format(log=log))
            (programs / name).chmod(0o755)
        path = f"{programs}:{self.environment['PATH']}"
        self.environment |= {"GSETTINGS_BACKEND": "keyfile", "PATH": path, **desktop.variables}

    def bus(self) -> str:
        """Start the session bus. It starts the services that the packages of the tree install."""
        words = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = found = self._saying(words, "=")
        return found

    def has_watcher(self) -> bool:
        """Report whether a panel that shows icons is on the bus."""
        words = ["gdbus", "call", "--session", "--dest", "org.freedesktop.DBus", "--object-path", "/"]
        words += ["--method", "org.freedesktop.DBus.NameHasOwner", WATCHER]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return "true" in done.stdout

    def strip(self) -> Image.Image:
        """Return a picture of the panel."""
        top, bottom = self.desktop.panel
        return self.picture().crop((0, top, WIDTH, bottom))

    async def key(self, *names: str) -> None:
        """Press keys as fast as a person."""
        for name in names:
            await self.keys(name)
            await asyncio.sleep(0.3)

    async def chord(self, *names: str) -> None:
        """Press keys together."""
        from Xlib import XK, X

        codes = [self.x.keysym_to_keycode(XK.string_to_keysym(name)) for name in names]
        for code in codes:
            await self._fake(X.KeyPress, code)
        await asyncio.sleep(0.3)
        for code in reversed(codes):
            await self._fake(X.KeyRelease, code)
        await asyncio.sleep(0.7)


@contextmanager
def screen(desktop: Desktop) -> Iterator[Screen]:
    """Start the desktop."""
    made = Screen(desktop)
    try:
        made.screen(f"{WIDTH}x{HEIGHT}x24")
        made.bus()
        desktop.start(made)
        yield made
    finally:
        made.close()


def difference(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return a mask of the pixels that differ."""
    return ImageChops.difference(one, other).convert("L").point(lambda v: 255 if v > 24 else 0)


class Stage:
    """The agent on a desktop. `at` is the middle of its icon."""

    def __init__(self, desk: Screen, lab: Lab, agent: Agent, folder: Path) -> None:
        self.desk, self.lab, self.agent, self.folder = desk, lab, agent, folder
        self.at = (0, 0)

    async def start(self, config: str) -> None:
        """Wait for the panel, start the agent, and find its icon."""
        await until(self.desk.has_watcher, "no panel", START_S)
        await asyncio.sleep(5)  # the desktop draws the rest of its panel, and greets
        if self.desk.desktop.name == "gnome":
            await self.desk.key("Escape")  # leaves the overview, with which a session begins
            # GNOME shows no further message until the user was active and saw its own first one.
            for step in range(12):
                await self.desk.move(AWAY[0] + step, AWAY[1])
                await asyncio.sleep(0.5)
        self.agent.start(config)
        await until(lambda: self.agent.status()["agent"]["tray"], "no icon", START_S)
        await self._find_icon()

    async def calm(self) -> Image.Image:
        """Wait until the screen no longer changes, and return it."""
        last = self.desk.picture()
        for _ in range(40):
            await asyncio.sleep(0.5)
            now = self.desk.picture()
            if not difference(last, now).getbbox():
                break
            last = now
        return now

    async def strip(self) -> Image.Image:
        """Return the panel, once the screen no longer changes."""
        await self.calm()
        return self.desk.strip()

    async def open_menu(self) -> Box:
        """Open the menu with the mouse, and move the pointer away. Return where the menu is."""
        before = await self.calm()
        await self.desk.click(*self.at, button=self.desk.desktop.button)
        await self.desk.move(*AWAY)
        box = await self.changed(before, "no menu")
        if self.desk.desktop.name == "gnome":
            # The extension draws the menu as it was when it was last open. Only then it reads the new lines.
            await asyncio.sleep(2)
            box = await self.changed(before, "no menu")
        return box

    def icon(self) -> Image.Image:
        """Return the pixels of the icon."""
        return self._around(self.desk.strip(), self.at[0])

    def follow(self, icon: Image.Image) -> None:
        """Find the icon that has these pixels. On Cinnamon another icon comes and moves it."""
        strip = self.desk.strip()
        same = [x for x in range(9, WIDTH - 9) if self._around(strip, x).tobytes() == icon.tobytes()]
        if same:
            self.at = (same[0], self.at[1])

    def _around(self, strip: Image.Image, x: int) -> Image.Image:
        y = self.at[1] - self.desk.desktop.panel[0]
        return strip.crop((x - 8, y - 8, x + 8, y + 8))

    async def close_menu(self) -> None:
        """Close the menu. A click beside it also closes it where keys do not reach it."""
        await self.desk.key("Escape", "Escape", "Escape")
        await self.desk.click(*AWAY)
        await self.desk.move(AWAY[0] + 9, AWAY[1])  # otherwise waybar shows the icon's tooltip

    async def changed(self, before: Image.Image, otherwise: str, deadline_s: float = 20.0) -> Box:
        """Wait until something outside the panel differs from `before`. Return where."""
        end = time.monotonic() + deadline_s
        top, bottom = self.desk.desktop.panel
        while True:
            mask = difference(before, await self.calm())
            mask.paste(0, (0, top, WIDTH, bottom))
            if (box := mask.getbbox()) is not None:
                return box
            assert time.monotonic() < end, otherwise

    def save(self, name: str, box: Box) -> None:
        """Save this part of the screen with a margin, and with the panel if the panel is beside it."""
        left, top, right, bottom = box
        first, last = self.desk.desktop.panel
        if first == 0 and top - last < 3 * MARGIN:
            top = first
        if last == HEIGHT and first - bottom < 3 * MARGIN:
            bottom = last
        cut = (
            max(left - MARGIN, 0),
            max(top - MARGIN, 0),
            min(right + MARGIN, WIDTH),
            min(bottom + MARGIN, HEIGHT),
        )
        self.keep(name, self.desk.picture().crop(cut))

    def keep(self, name: str, picture: Image.Image) -> None:
        """Write a small picture. The method keeps rare colours, such as the orange of the icon."""
        small = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(self.folder / f"{self.desk.desktop.name}-{name}.png", optimize=True)

    async def _find_icon(self) -> None:
        """Find the icon: the part of the panel that changes with a pause, and changes back."""
        limit = time.monotonic() + START_S
        while (box := await self._pause_and_resume()) is None:
            assert time.monotonic() < limit, f"no icon: {self.agent.status()['agent']}"
        self.at = ((box[0] + box[2]) // 2, self.desk.desktop.panel[0] + (box[1] + box[3]) // 2)

    async def _pause_and_resume(self) -> Box | None:
        self.agent.cli("pause")
        paused = await self.strip()
        self.agent.cli("resume")
        going = await self.strip()
        self.agent.cli("pause")
        again = await self.strip()
        self.agent.cli("resume")
        return ImageChops.subtract(difference(paused, going), difference(paused, again)).getbbox()
