"""The sign-in message on real notification daemons: shown once, replaced and withdrawn, with a working button."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from tests.desktop.desk import Desk, run, tool, until
from trayagent.desktop.notifications.freedesktop_notifier import Notifier
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.session_bus import SessionBus

SIGN_IN = Message(
    "vpn-needs-sign-in corp",
    "Sign in to VPN corp",
    "db and <git>: connected as soon as it is up.",
    actions=(("sign-in", "Sign in"), ("snooze", "Snooze")),
    stays=True,
)

# dunst has no buttons. A middle click starts a menu program, which in this test returns the first button's line.
DUNSTRC = """[global]
dmenu = {menu}
mouse_middle_click = do_action
[urgency_normal]
background = "#2040dc"
"""


def start(desk: Desk, daemon: str) -> None:
    """Start the daemon. The daemon may become ready only after the first message."""
    desk.screen()
    desk.bus()
    if daemon == "dunst":
        menu = desk.folder / "menu"
        menu.write_text("#!/bin/sh\ngrep ^#Sign\n")
        menu.chmod(0o755)
        (desk.folder / "dunstrc").write_text(DUNSTRC.format(menu=menu))
        desk.start(tool("dunst"), "-conf", str(desk.folder / "dunstrc"))
    else:
        desk.start(tool("xfconfd"))
        desk.start(tool("xfce4-notifyd"))


@asynccontextmanager
async def notifier(desk: Desk) -> AsyncIterator[tuple[Notifier, list[Any]]]:
    """Run a notifier. Yield it and the callbacks that it made."""
    heard: list[Any] = []
    made = Notifier(lambda key, action: heard.append((key, action)), heard.append)
    bus = SessionBus([made], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]])
    bus.start()
    try:
        yield made, heard
    finally:
        await bus.close()


def boxes(desk: Desk) -> int:
    """Return how many messages are on the screen: the number of blocks of rows that are not background."""
    picture = desk.picture().convert("L").point(lambda v: 255 if v > 20 else 0)
    rows = [picture.crop((0, y, picture.width, y + 1)).getbbox() is not None for y in range(picture.height)]
    return sum(row and not above for above, row in zip([False, *rows], rows, strict=False))


async def press_button(desk: Desk, daemon: str) -> None:
    """Press the first button of the message."""
    picture = desk.picture().convert("L").point(lambda v: 255 if v > 20 else 0)
    left, top, right, bottom = picture.getbbox() or (0, 0, 0, 0)
    if daemon == "dunst":
        await desk.click((left + right) // 2, (top + bottom) // 2, button=2)
    else:  # two buttons below the text, on the right
        await desk.click(right - 170, bottom - 30)


@pytest.mark.parametrize("daemon", ["dunst", "xfce4-notifyd"])
def test_the_sign_in_message_on_a_real_daemon(desk: Desk, daemon: str) -> None:
    """The message appears once, changes in place, reports its button, and disappears when the VPN is up."""

    async def body() -> None:
        start(desk, daemon)
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            await until(lambda: boxes(desk) == 1, f"on the screen: {shows.problem} {desk.words()}")
            await until(lambda: shows._ids, "known")
            number = dict(shows._ids)
            desk.save(f"{daemon} shown")
            before = desk.picture().tobytes()
            shows.show(SIGN_IN)
            assert not shows._tasks
            shows.show(replace(SIGN_IN, text="db waits."))
            await until(lambda: desk.picture().tobytes() != before, "replaced")
            await until(lambda: boxes(desk) == 1 and shows._ids == number, "in place")
            desk.save(f"{daemon} replaced")
            shows.withdraw(SIGN_IN.key)
            await until(lambda: boxes(desk) == 0, "withdrawn")
            assert heard == []

            shows.show(SIGN_IN)
            await until(lambda: boxes(desk) == 1, "on the screen again")
            await desk.still()
            await press_button(desk, daemon)
            desk.save(f"{daemon} pressed")
            await until(lambda: (SIGN_IN.key, "sign-in") in heard, f"the button: {heard}")
            shows.withdraw(SIGN_IN.key)
            await until(lambda: boxes(desk) == 0, "gone")
            assert shows.problem is None

    run(body())
