"""A real desktop for a test: Xvfb, a session bus, xfce4-panel, notification daemons, mouse and keys.

This desktop is separate from the user's own desktop: it has its own HOME, bus and display.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from PIL import Image, ImageChops, ImageGrab

DEADLINE_S = 20.0
PANEL_HEIGHT = 34
"""Rows that the panel may cover. Menus are below them."""

# Programs that are not on PATH, because other programs start them.
ELSEWHERE = {
    "xfconfd": "lib/*/xfce4/xfconf/xfconfd",
    "xfce4-notifyd": "lib/*/xfce4/notifyd/xfce4-notifyd",
}
# Files that a program needs in order to work.
WANTS = {"xfce4-panel": "lib/*/xfce4/panel/plugins/libsystray.so"}

# The bus starts no services, so the programs installed on this machine do not affect a test.
BUS_XML = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={place}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""

PANEL_XML = """<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array"><value type="int" value="1"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="length" type="uint" value="100"/>
      <property name="size" type="uint" value="32"/>
      <property name="icon-size" type="uint" value="22"/>
      <property name="plugin-ids" type="array"><value type="int" value="1"/></property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="systray">
      <property name="icon-size" type="int" value="22"/>
      <property name="square-icons" type="bool" value="true"/>
    </property>
  </property>
</channel>
"""

I3_CONFIG = """# i3 config file (v4)
font pango:DejaVu Sans 12
bar {{
    i3bar_command {bar}
    position top
    workspace_buttons no
    colors {{
        background {colour}
    }}
}}
"""


def tool(name: str) -> str:
    """Return the path of a program. If the program is missing, skip the test on a desktop, and fail in CI."""
    found = shutil.which(name)
    if found is None and name in ELSEWHERE:
        found = next((str(p) for p in Path("/usr").glob(ELSEWHERE[name])), None)
    if found is not None and name in WANTS and not any(Path("/usr").glob(WANTS[name])):
        found = None
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing; `make test` gets it")
        pytest.skip(f"{name} is missing; `make test` gets it")
    return found


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll until the condition is true, and return its value."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.01)
    return found


def run(body: Awaitable[None]) -> None:
    """Run one test's coroutine with a time limit."""

    async def limited() -> None:
        async with asyncio.timeout(3 * DEADLINE_S):
            await body

    asyncio.run(limited())


class Desk:
    """A private desktop. Each part starts when a test calls for it, and `close` ends all of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ta-desk-"))
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in _OF_THE_USER},
            "XDG_CURRENT_DESKTOP": "XFCE",
            "NO_AT_BRIDGE": "1",
            "GDK_BACKEND": "x11",
            "GSETTINGS_BACKEND": "memory",
        }
        for variable, name in _FOLDERS.items():
            (self.folder / name).mkdir(mode=0o700)
            self.environment[variable] = str(self.folder / name)
        self._children: list[subprocess.Popen[bytes]] = []
        self._log: IO[bytes] = (self.folder / "log").open("ab")
        self._display: subprocess.Popen[bytes] | None = None
        self._screen: Any = None

    def close(self) -> None:
        """End all programs, the last one first, and remove their files."""
        if self._screen is not None:
            self._screen.close()
        for child in reversed(self._children):
            # A killed display leaves its socket in the directory that all displays share.
            self.end(child, signal.SIGTERM if child is self._display else signal.SIGKILL)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def words(self) -> str:
        """Return the output of all programs."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program on this desktop, as the leader of its own process group."""
        child = subprocess.Popen(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
            cwd=self.folder,
        )
        self._children.append(child)
        return child

    def end(self, child: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
        """End a program and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        child.wait(DEADLINE_S)

    def screen(self, size: str = "800x400x24") -> str:
        """Start the display and return its name."""
        words = [tool("Xvfb"), "-screen", "0", size, "-nolisten", "tcp", "-noreset", "-displayfd"]
        self.environment["DISPLAY"] = f":{self._saying(words)}"
        self._display = self._children[-1]
        return self.environment["DISPLAY"]

    def bus(self) -> str:
        """Start the session bus, always at the same path, and return its address."""
        place, config = self.folder / "bus", self.folder / "bus.conf"
        place.unlink(missing_ok=True)
        config.write_text(BUS_XML.format(place=place))
        words = [tool("dbus-daemon"), f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = found = self._saying(words, "=")
        return found

    def panel(self) -> subprocess.Popen[bytes]:
        """Start xfce4-panel. It is ready when the bus has a StatusNotifierWatcher."""
        program, store = tool("xfce4-panel"), tool("xfconfd")
        channel = self.folder / "config/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml"
        if not channel.exists():
            channel.parent.mkdir(parents=True)
            channel.write_text(PANEL_XML)
            self.start(store)
        return self.start(program, "--disable-wm-check")

    def i3bar(self, colour: str = "#222222") -> subprocess.Popen[bytes]:
        """Start i3 with a bar of this colour at the top, whose tray knows only XEmbed."""
        program, bar = tool("i3"), tool("i3bar")
        config = self.folder / "i3"
        config.write_text(I3_CONFIG.format(bar=bar, colour=colour))
        return self.start(program, "-c", str(config))

    def _saying(self, words: Sequence[str], joint: str = " ") -> str:
        """Start a program that writes one line to a descriptor, which its last option contains. Return the line."""
        ours, its = os.pipe()
        os.set_inheritable(its, True)
        last = [f"{words[-1]}={its}"] if joint == "=" else [words[-1], str(its)]
        with os.fdopen(ours, "rb") as line:
            try:
                child = subprocess.Popen(
                    [*words[:-1], *last],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    process_group=0,
                    pass_fds=[its],
                )
            finally:
                os.close(its)
            self._children.append(child)
            # read up to the newline, because closing earlier kills Xvfb
            said = line.readline().decode().strip()
        assert said, f"{words[0]} said nothing: {self.words()}"
        return said

    def picture(self) -> Image.Image:
        """Return a picture of the screen."""
        return ImageGrab.grab(xdisplay=self.environment["DISPLAY"]).convert("RGB")

    def save(self, name: str) -> None:
        """Save a picture in the directory that TRAYAGENT_PICTURES names, if it is set."""
        if folder := os.environ.get("TRAYAGENT_PICTURES"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.picture().save(Path(folder) / f"{name}.png")

    def find(self, colour: tuple[int, int, int], top: int = 0, bottom: int = PANEL_HEIGHT) -> Any:
        """Return the centre of the pixels of a colour between two rows, or None if there are fewer than 30."""
        picture = self.picture()
        part = picture.crop((0, top, picture.width, min(bottom, picture.height)))
        plain = Image.new("RGB", part.size, colour)
        r, g, b = ImageChops.difference(part, plain).point(lambda v: 255 if v < 40 else 0).split()
        mask = ImageChops.multiply(ImageChops.multiply(r, g), b)
        box = mask.getbbox()
        if box is None or mask.histogram()[255] < 30:
            return None
        return (box[0] + box[2]) // 2, top + (box[1] + box[3]) // 2

    def below(self) -> bytes:
        """Return the pixels below the panel, where menus are."""
        picture = self.picture()
        return picture.crop((0, PANEL_HEIGHT, picture.width, picture.height)).tobytes()

    async def still(self) -> bytes:
        """Wait until the screen below the panel no longer changes, and return it."""
        last = now = self.below()
        for _ in range(100):
            await asyncio.sleep(0.15)
            last, now = now, self.below()
            if last == now:
                break
        return now

    @property
    def x(self) -> Any:
        """Return a connection to the display, for mouse and keys."""
        if self._screen is None:
            from Xlib import display

            self._screen = display.Display(self.environment["DISPLAY"])
        return self._screen

    async def move(self, x: int, y: int) -> None:
        """Move the pointer to a position."""
        from Xlib import X

        await self._fake(X.MotionNotify, x=x, y=y)

    async def click(self, x: int, y: int, button: int = 1) -> None:
        """Move the pointer to a position and click. Button 1 is the left one, 3 the right one."""
        from Xlib import X

        await self.move(x, y)
        await self._fake(X.ButtonPress, button)
        await self._fake(X.ButtonRelease, button)

    async def keys(self, *names: str) -> None:
        """Press and release each key. The names are X keysyms such as Down, Right, Return, Escape."""
        from Xlib import XK, X

        for name in names:
            code = self.x.keysym_to_keycode(XK.string_to_keysym(name))
            await self._fake(X.KeyPress, code)
            await self._fake(X.KeyRelease, code)

    async def _fake(self, kind: int, detail: int = 0, **where: int) -> None:
        from Xlib.ext import xtest

        xtest.fake_input(self.x, kind, detail, **where)
        self.x.sync()
        await asyncio.sleep(0.05)  # GTK interprets two quicker events as a drag


_OF_THE_USER = {
    "WAYLAND_DISPLAY",
    "SESSION_MANAGER",
    "DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "XAUTHORITY",
    "XDG_SESSION_ID",
}
_FOLDERS = {
    "HOME": "home",
    "XDG_RUNTIME_DIR": "run",
    "XDG_CONFIG_HOME": "config",
    "XDG_CACHE_HOME": "cache",
    "XDG_DATA_HOME": "data",
}


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """Make an empty desktop."""
    made = Desk()
    try:
        yield made
    finally:
        made.close()
