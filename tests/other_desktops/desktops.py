"""The desktops of the Debian tree, each in an Xvfb of its own with a private session bus.

GNOME Shell and sway run nested in a window of the X display, so the same mouse, keys and camera serve all desktops.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tests.desktop.desk import Desk

WIDTH, HEIGHT = 1366, 768
"""The smallest screen that laptops commonly have."""
START_S = 120.0
"""A desktop starts slowly on a busy machine without a graphics card."""

GNOME_SETTINGS = """[org/gnome/shell]
enabled-extensions=['ubuntu-appindicators@ubuntu.com']
disable-user-extensions=false
welcome-dialog-last-shown-version='99'
[org/gnome/desktop/lockdown]
disable-lock-screen=true
[org/gnome/desktop/interface]
enable-animations=false
"""
SWAY = """output * resolution {width}x{height} background #3a6ea5 solid_color
exec waybar -c {folder}/waybar.json
exec mako
default_border normal
"""
WAYBAR = """{"layer": "top", "position": "top", "modules-left": ["sway/workspaces"],
 "modules-right": ["tray", "clock"], "tray": {"spacing": 10}}
"""
LXQT = """[General]
__userfile__=true
[panel1]
plugins=mainmenu, spacer, statusnotifier, worldclock
position=Bottom
iconSize=22
panelSize=32
[mainmenu]
type=mainmenu
[spacer]
type=spacer
expandable=true
[statusnotifier]
type=statusnotifier
[worldclock]
type=worldclock
"""
MATE = """[org/mate/panel/general]
toplevel-id-list=['bottom']
object-id-list=['tray', 'clock']
[org/mate/panel/toplevels/bottom]
expand=true
orientation='bottom'
size=32
[org/mate/panel/objects/tray]
object-type='applet'
applet-iid='NotificationAreaAppletFactory::NotificationArea'
toplevel-id='bottom'
position=10
panel-right-stick=true
[org/mate/panel/objects/clock]
object-type='applet'
applet-iid='ClockAppletFactory::ClockApplet'
toplevel-id='bottom'
position=0
panel-right-stick=true
"""


class Desktop(Struct, frozen=True):
    """One desktop.

    `start` starts everything but the agent, with the `variables` of such a session. `panel` has the first row of the
    panel and the row after the last. `button` opens the menu. `to_second_host`: the keys that open the submenu of the
    second host; without keys, the pointer opens it. `message_click`: a click on a message does what its first button
    does.
    """

    name: str
    start: Callable[[Desk], None]
    variables: Mapping[str, str]
    panel: tuple[int, int]
    left_click: Literal["menu", "status page"]
    button: int = 3
    to_second_host: tuple[str, ...] = ("Down", "Down", "Right")
    message_click: bool = True


def keyfile(desk: Desk, text: str) -> None:
    """Write these settings, and let GSettings read them."""
    file = Path(desk.environment["XDG_CONFIG_HOME"]) / "glib-2.0/settings/keyfile"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    desk.environment["GSETTINGS_BACKEND"] = "keyfile"


def _gnome(desk: Desk) -> None:
    keyfile(desk, GNOME_SETTINGS)
    desk.environment |= {"MUTTER_DEBUG_DUMMY_MODE_SPECS": f"{WIDTH}x{HEIGHT}", "GDK_BACKEND": "wayland"}
    desk.start("gnome-shell", "--nested", "--wayland", "--unsafe-mode", "--wayland-display=gnome-0")


def _kde(desk: Desk) -> None:
    for words in (["kactivitymanagerd"], ["kded6"], ["kwin_x11"], ["plasmashell"]):
        program = shutil.which(words[0]) or next(
            (str(p) for p in Path("/usr/lib").glob(f"**/{words[0]}")), words[0]
        )
        desk.start(program, *words[1:])


def _sway(desk: Desk) -> None:
    config = desk.folder / "sway"
    config.write_text(SWAY.format(width=WIDTH, height=HEIGHT, folder=desk.folder))
    (desk.folder / "waybar.json").write_text(WAYBAR)
    desk.environment["GDK_BACKEND"] = "wayland"
    desk.start("sway", "--config", str(config))
    desk.environment["WAYLAND_DISPLAY"] = "wayland-1"


def _lxqt(desk: Desk) -> None:
    folder = Path(desk.environment["XDG_CONFIG_HOME"]) / "lxqt"
    folder.mkdir(parents=True)
    (folder / "panel.conf").write_text(LXQT)
    (folder / "lxqt.conf").write_text("[General]\ntheme=ambiance\nicon_theme=breeze\n")
    for program in ("openbox", "lxqt-notificationd", "lxqt-panel"):
        desk.start(program)


def _cinnamon(desk: Desk) -> None:
    desk.environment["GSETTINGS_BACKEND"] = "memory"
    desk.start("/usr/lib/x86_64-linux-gnu/xapps/xapp-sn-watcher")
    desk.start("cinnamon", "--replace")


def _mate(desk: Desk) -> None:
    keyfile(desk, MATE)
    desk.start("marco", "--no-composite")
    desk.start("/usr/libexec/mate-notification-daemon/mate-notification-daemon")
    desk.start("mate-panel")


QT_ON_A_PROCESSOR = {"QT_QUICK_BACKEND": "software", "LIBGL_ALWAYS_SOFTWARE": "1"}
TOP, BOTTOM = (0, 36), (HEIGHT - 48, HEIGHT)
DESKTOPS = {
    desktop.name: desktop
    for desktop in (
        Desktop(
            "kde",
            _kde,
            {
                "XDG_CURRENT_DESKTOP": "KDE",
                "KDE_FULL_SESSION": "true",
                "KDE_SESSION_VERSION": "6",
                "XDG_SESSION_TYPE": "x11",
                "QT_QPA_PLATFORM": "xcb",
                **QT_ON_A_PROCESSOR,
            },
            BOTTOM,
            "status page",
        ),
        Desktop(
            "gnome",
            _gnome,
            {"XDG_CURRENT_DESKTOP": "GNOME", "XDG_SESSION_TYPE": "wayland", "LIBGL_ALWAYS_SOFTWARE": "1"},
            TOP,
            "menu",
            button=1,
            to_second_host=("Down", "Down", "Down", "Return"),
        ),
        Desktop(
            "sway",
            _sway,
            {
                "XDG_CURRENT_DESKTOP": "sway",
                "XDG_SESSION_TYPE": "wayland",
                "WLR_BACKENDS": "x11",
                "WLR_RENDERER": "pixman",
                "WLR_RENDERER_ALLOW_SOFTWARE": "1",
            },
            (0, 24),
            "menu",
            to_second_host=(),
        ),
        Desktop(
            "lxqt",
            _lxqt,
            {"XDG_CURRENT_DESKTOP": "LXQt", "XDG_SESSION_TYPE": "x11", **QT_ON_A_PROCESSOR},
            BOTTOM,
            "status page",
            message_click=False,
        ),
        Desktop(
            "cinnamon",
            _cinnamon,
            {"XDG_CURRENT_DESKTOP": "X-Cinnamon", "XDG_SESSION_TYPE": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"},
            BOTTOM,
            "status page",
        ),
        Desktop(
            "mate",
            _mate,
            {"XDG_CURRENT_DESKTOP": "MATE", "XDG_SESSION_TYPE": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"},
            BOTTOM,
            "status page",
        ),
    )
}
