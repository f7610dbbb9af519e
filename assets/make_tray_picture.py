"""Makes docs/pictures/tray.png: the real agent's menu in a real xfce4-panel, with real masters in the sandbox.

Usage: python assets/make_tray_picture.py [FILE]

Needs what `make test` needs for the desktop: Xvfb, dbus-daemon, xfce4-panel.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402  # after the change of the path

from tests.desktop.desk import Desk  # noqa: E402
from tests.desktop.desk import desk as make_desk  # noqa: E402
from trayagent.sandbox import Agent, Lab  # noqa: E402

SESSION = ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
WALLPAPER = 0x3A6EA5
CONFIG = """
[hosts.web01]
local = ["9000:127.0.0.1:8000"]
dynamic = ["1080"]
[hosts.build]
[hosts.mail]
[hosts.db]
vpn = "corp"
[vpns.corp]
interface = "tun*"
sign_in = ["true"]
"""
BOX = (0, 0, 700, 395)


def paint_wallpaper(desk: Desk) -> None:
    """Paint the background in a colour that contrasts with the menu."""
    root = desk.x.screen().root
    root.change_attributes(background_pixel=WALLPAPER)
    root.clear_area()
    desk.x.sync()


async def picture(desk: Desk) -> Image.Image:
    """Return the screen with the open menu and the submenu of web01."""
    desk.screen()
    desk.bus()
    paint_wallpaper(desk)
    desk.panel()
    with Lab(rtt_ms=50) as lab, Agent(lab, desktop={n: desk.environment[n] for n in SESSION}) as agent:
        lab.join("home")
        lab.sshd()
        lab.echo(8000)
        server = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
        behind = {"HostName": "10.99.0.10", "ControlPath": "~/.ssh/cm-%n"}
        lab.ssh_config({"web01": server, "build": server, "mail": server, "db": behind})
        agent.start(CONFIG)
        for name in ("web01", "build", "mail"):
            agent.wait_state(name, "connected")
        agent.wait_forwards("web01", {"local": "open", "dynamic": "open"})
        await desk.still()
        await desk.click(16, 16, button=3)
        await asyncio.sleep(1)
        await desk.keys("Down", "Down", "Right")  # db needs a sign-in, so it comes first; then web01
        await desk.still()
        return desk.picture().crop(BOX)


def main(file: Path) -> None:
    """Make the picture and save it."""
    with make_desk() as desk:
        found = asyncio.run(picture(desk))
    found.quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures" / "tray.png")
