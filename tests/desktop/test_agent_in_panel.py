"""The real agent with a real master, and its icon in a real panel, used by mouse and keyboard."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.desktop.desk import PANEL_HEIGHT, Desk, run, until
from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab

SESSION = ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")


@contextmanager
def connected(desk: Desk) -> Iterator[tuple[Lab, Agent]]:
    """Run an agent with one connected host on a desktop with a panel."""
    with lab_for_desktop() as lab:
        desk.screen()
        desk.bus()
        desk.panel()
        with running(lab, desk) as agent:
            yield lab, agent


def lab_for_desktop() -> Lab:
    """Return a laboratory. If the machine cannot create namespaces, skip the test."""
    try:
        return Lab(rtt_ms=20)
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise


@contextmanager
def running(lab: Lab, desk: Desk, *more: str) -> Iterator[Agent]:
    """Run an agent with a connected host on the home network, with the desktop's environment variables."""
    with Agent(lab, desktop={name: desk.environment[name] for name in (*SESSION, *more)}) as agent:
        lab.join("home")
        lab.sshd()
        lab.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
        agent.start("[hosts.web01]\n")
        agent.wait_state("web01", "connected")
        yield agent


def icon(desk: Desk) -> bytes:
    """Return the pixels of the panel's left end, where the only icon is, or b"" while there is no icon."""
    picture = desk.picture()
    row = picture.crop((0, 0, 40, PANEL_HEIGHT - 2))
    return row.tobytes() if len(row.getcolors(1 << 16) or ()) > 3 else b""


async def settled(desk: Desk) -> bytes:
    """Return the icon once it no longer changes.

    Move the pointer away first, because the panel brightens a hovered icon.
    """
    await desk.move(700, 350)
    await until(lambda: icon(desk), "no icon")
    last, now = b"", icon(desk)
    while last != now:
        await asyncio.sleep(0.3)  # longer than GTK's fade effect
        last, now = now, icon(desk)
    return now


async def open_menu(desk: Desk) -> None:
    """Click on the icon until its menu is open."""
    empty = desk.below()
    await desk.click(16, 16, button=3)
    await until(lambda: desk.below() != empty, "no menu")
    await desk.still()


def test_the_menu_of_the_real_agent_does_what_it_says(desk: Desk) -> None:
    """The line "Reconnect all" makes a new master, "For 30 minutes" pauses, and the icon shows each state."""

    async def body() -> None:
        with connected(desk) as (lab, agent):
            await until(lambda: icon(desk), "no icon")
            assert agent.status()["agent"]["no_tray"] is None
            before = (agent.host("web01") or {})["pid"]
            await open_menu(desk)
            desk.save("agent-menu")
            await desk.keys("Down", "Down", "Return")  # web01, Reconnect all
            await until(lambda: (agent.host("web01") or {})["pid"] != before, "no new master")
            agent.wait_state("web01", "connected")
            up = await settled(desk)

            await open_menu(desk)
            await desk.keys("Down", "Down", "Down", "Right", "Return")  # Pause, For 30 minutes
            await until(lambda: agent.status()["agent"]["paused"], "not paused")
            left = datetime.fromisoformat(agent.status()["agent"]["paused_until"]) - datetime.now(UTC)
            assert timedelta(minutes=29) < left <= timedelta(minutes=30)
            assert await settled(desk) != up, "the icon does not show the pause"
            agent.cli("resume")
            await until(lambda: icon(desk) == up, "the icon does not show the end of the pause")

            lab.leave("home")
            await until(
                lambda: icon(desk) not in {up, b""}, "the icon does not show that there is no network"
            )
            lab.join("home")
            await until(lambda: icon(desk) == up, "the icon does not show that the network is back")

    run(body())


def reason_has(agent: Agent, word: str) -> bool:
    """Report whether status contains this word in its reason for the missing icon."""
    return word in (agent.status()["agent"]["no_tray"] or "")


def test_without_a_panel_the_agent_works_and_says_why_there_is_no_icon(desk: Desk) -> None:
    """`status --json` contains the reason: a bus without a panel, or no bus."""

    async def body() -> None:
        desk.bus()
        desk.environment["DISPLAY"] = ""
        with lab_for_desktop() as lab:
            for address, said in (
                (desk.environment["DBUS_SESSION_BUS_ADDRESS"], "tray"),
                ("unix:path=/nowhere", "bus"),
            ):
                session = {**{n: desk.environment[n] for n in SESSION}, "DBUS_SESSION_BUS_ADDRESS": address}
                with Agent(lab, desktop=session) as agent:
                    agent.start("")
                    await until(partial(reason_has, agent, said), f"no reason with {said!r}")

    run(body())


@pytest.mark.parametrize("known", [True, False])
def test_a_session_bus_that_comes_after_the_agent_is_used(desk: Desk, known: bool) -> None:
    """An agent that starts before the login uses a bus that appears later at the known path, or a client's bus."""

    async def body() -> None:
        place = desk.folder if known else desk.folder / "nowhere"
        with lab_for_desktop() as lab, Agent(lab, desktop={"XDG_RUNTIME_DIR": str(place)}) as agent:
            agent.start("")
            del agent.env["XDG_RUNTIME_DIR"]  # no client passes its address
            await until(lambda: reason_has(agent, "bus is missing"), "no reason")
            address = desk.bus()
            if not known:
                assert reason_has(agent, "bus is missing")
                agent.env["DBUS_SESSION_BUS_ADDRESS"] = address
            await until(lambda: reason_has(agent, "no panel"), "not on the bus")

    run(body())
