"""Takes pictures of the agent's icon, menu and messages on one desktop of the Debian tree.

Usage, in the tree and as an ordinary user: python -m tests.other_desktops.take_pictures DESKTOP FOLDER

The agent, its masters and its server are real. Their state is changed as in daily life: a network goes away, a login is
refused, the port of a forward is taken. It fails if the icon, the menu or a message does not appear, or if a left click
or a click on the message does something else than docs/desktops.md says.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.desktop.desk import until
from tests.other_desktops.desktops import DESKTOPS, HEIGHT, Desktop
from tests.other_desktops.stage import AWAY, SESSION, Box, Stage, difference, screen
from trayagent.sandbox import Agent, Lab

NAMES = ("web_01", "build", "mail")
MANY = [f"srv{number:02}" for number in range(1, 61)]
CALM = """
[hosts.web_01]
local = ["9000:127.0.0.1:8000"]
dynamic = ["1080"]
[hosts.build]
[hosts.mail]
"""
NEEDY = CALM + "[hosts.db]\n"
LACKING = CALM.replace("9000:127.0.0.1:8000", "9001:127.0.0.1:8001")
"""A configuration with a forward whose port is taken."""
CROWDED = NEEDY + "".join(f'[hosts.{name}]\nconnect = "on-use"\n' for name in MANY)
SPECIAL_NAMES = ("my_host_1", "__init__", "שרת_1", "خادم-2")
SPECIAL = "".join(f'[hosts."{name}"]\n' for name in SPECIAL_NAMES)
LABEL_WIDTH, NEIGHBOURS = 130, 70
"""Pixels of a state's name, and of the panel on each side of the icon."""
SECOND_HOST = 64
"""Pixels from the top of waybar's menu to the second host."""


def lay_out(lab: Lab) -> None:
    """Give the laptop a network with a server, and names for it."""
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.echo(9001, node=lab.laptop)
    server = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%n"}
    names = dict.fromkeys((*NAMES, *MANY, *SPECIAL_NAMES), server)
    lab.ssh_config({**names, "db": {**server, "PubkeyAuthentication": "no"}})


async def message(stage: Stage) -> None:
    """Save the message about a refused login, and click on it."""
    before = await stage.calm()
    stage.agent.configure(NEEDY)
    stage.agent.wait_state("db", "needs-sign-in")
    box = await stage.changed(before, "no message")
    middle = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    stage.save("message", await with_buttons(stage, before, box, middle))
    if stage.desk.desktop.message_click:
        await stage.desk.click(*middle)
        log = stage.desk.terminals
        await until(
            lambda: log.exists() and "login -- db" in log.read_text(),
            "a click on the message does not log in",
        )


async def with_buttons(stage: Stage, before: Image.Image, box: Box, middle: tuple[int, int]) -> Box:
    """Move the pointer onto the message, and return where the message is then. GNOME shows the buttons only now."""
    left, top, right, bottom = box
    for step in range(10):
        await stage.desk.move(middle[0] + step, middle[1])
        taller = difference(before, await stage.calm()).crop(
            (left, top, right, HEIGHT // 2 if top < 99 else bottom)
        )
        _, _, _, below = taller.getbbox() or (0, 0, 0, 0)
        if stage.desk.desktop.name != "gnome" or top + below > bottom:
            return left, top, right, max(bottom, top + below)
    raise AssertionError("no buttons")


async def menu(stage: Stage) -> None:
    """Save the menu with the submenu of a host, which the keyboard opens."""
    icon, usual_place = stage.icon(), stage.at
    await stage.desk.move(*AWAY)  # GNOME draws the pointer, too
    await asyncio.sleep(6)  # a message that does not stay goes
    stage.follow(icon)
    before = await stage.calm()
    left, top, *_ = opened = await stage.open_menu()
    if keys := stage.desk.desktop.to_second_host:
        await stage.desk.key(*keys)
    else:
        await stage.desk.move(left + 60, top + SECOND_HOST)
    with_submenu = await stage.changed(before, "no menu")
    assert with_submenu != opened, "the submenu of the second host does not open"
    stage.save("menu", with_submenu)
    await stage.close_menu()
    stage.at = usual_place


async def states(stage: Stage) -> None:
    """Bring the agent into each state, and save the panel around the icon."""
    agent, lab, rows = stage.agent, stage.lab, dict[str, Image.Image]()
    rows["needs-you"] = await stage.strip()
    agent.configure(LACKING)
    agent.wait_forwards("web_01", {"local": "failed"})
    rows["some-connected"] = await stage.strip()
    agent.configure(CALM)
    agent.wait_forwards("web_01", {"local": "open"})
    rows["all-connected"] = await stage.strip()
    agent.cli("pause")
    rows["paused"] = await stage.strip()
    agent.cli("resume")
    lab.leave("home")
    agent.wait_state("web_01", "offline")
    rows["offline"] = await stage.strip()
    lab.join("home")
    agent.wait_state("web_01", "connected")
    agent.cli("disconnect", *NAMES)
    rows["nothing-to-do"] = await stage.strip()
    lab.blackhole(True)
    connecting = asyncio.create_task(asyncio.to_thread(agent.cli, "reconnect", *NAMES))
    await until(lambda: agent.listed_host("web_01")["state"] == "connecting", "web_01 does not connect")
    rows["working"] = await stage.strip()
    lab.blackhole(False)
    await connecting
    stage.keep("states", in_rows(rows, stage.at[0]))


def in_rows(rows: dict[str, Image.Image], middle: int) -> Image.Image:
    """Return a picture with the name of each state beside the panel around the icon."""
    cut = {
        name: row.crop((middle - NEIGHBOURS, 0, middle + NEIGHBOURS, row.height))
        for name, row in rows.items()
    }
    height = next(iter(cut.values())).height
    picture = Image.new("RGB", (LABEL_WIDTH + 2 * NEIGHBOURS, height * len(cut)), (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for number, (name, row) in enumerate(cut.items()):
        draw.text((6, number * height + height // 2 - 8), name, fill=(46, 52, 54), font=font)
        picture.paste(row, (LABEL_WIDTH, number * height))
    return picture


async def names(stage: Stage) -> None:
    """Save the menu with names that a panel could draw wrongly: with `_`, and written from right to left."""
    others = [host["name"] for host in stage.agent.status()["hosts"] if host["state"] == "connected"]
    stage.agent.cli("disconnect", *others)
    stage.agent.configure(SPECIAL)
    for name in SPECIAL_NAMES:
        stage.agent.wait_state(name, "connected")
    await stage.desk.move(*AWAY)
    stage.save("names", await stage.open_menu())
    await stage.close_menu()


async def left_click(stage: Stage) -> None:
    """Check what a left click does."""
    desk = stage.desk
    before = await stage.calm()
    await desk.click(*stage.at)
    if desk.desktop.left_click == "status page":
        await until(desk.opened.exists, "the left click opens no page")
        return
    await desk.move(*[place // 2 for place in stage.at])
    await stage.changed(before, "the left click opens no menu")
    await stage.close_menu()
    assert not desk.opened.exists()


async def keyboard_walk(stage: Stage) -> None:
    """Reconnect one of 64 hosts on GNOME, without the mouse. Save each menu on the way."""
    desk, taken = stage.desk, list[Image.Image]()

    async def menu_opens() -> None:
        await desk.chord("Control_L", "Alt_L", "Tab")
        await desk.key("Right", "Right", "Return")
        await asyncio.sleep(2)  # the extension reads the changed lines only now
        await stage.calm()

    async def take() -> None:
        picture = await stage.calm()
        taken.append(picture.crop((stage.at[0] - 340, 0, picture.width, picture.height)))

    stage.agent.configure(CROWDED)
    stage.agent.wait_state("srv60", "idle")
    await menu_opens()
    await desk.key(*["Down"] * 6, "Return")  # more hosts
    await take()
    await desk.key("Down", "Down", "Return")  # srv09 to srv16
    await stage.calm()
    await menu_opens()
    await desk.key("Down", "Down", "Down", "Return")  # srv10
    await take()
    await desk.key("Down", "Return")  # Connect
    stage.agent.wait_state("srv10", "connected")
    picture = Image.new("RGB", (sum(one.width for one in taken), taken[0].height))
    for number, one in enumerate(taken):
        picture.paste(one, (number * one.width, 0))
    stage.keep("60-hosts", picture)


async def take_all(desktop: Desktop, folder: Path) -> None:
    """Take all pictures of one desktop. The log of its programs is in the same folder."""
    with screen(desktop) as desk:
        try:
            env = {name: desk.environment[name] for name in SESSION if name in desk.environment}
            with Lab(rtt_ms=50) as lab, Agent(lab, desktop=env) as agent:
                lay_out(lab)
                stage = Stage(desk, lab, agent, folder)
                await stage.start(CALM)
                for name in NAMES:
                    agent.wait_state(name, "connected")
                await message(stage)
                await menu(stage)
                await states(stage)
                await left_click(stage)
                if desktop.name == "gnome":
                    await keyboard_walk(stage)
                await names(stage)
        except BaseException:
            desk.picture().save(folder / f"{desktop.name}-failed.png")
            raise
        finally:
            (folder / f"{desktop.name}.log").write_text(desk.words())


if __name__ == "__main__":
    asyncio.run(take_all(DESKTOPS[sys.argv[1]], Path(sys.argv[2])))
