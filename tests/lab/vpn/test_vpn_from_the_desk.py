"""Sign-in from the notification: the real agent, NetworkManager and OpenVPN; only the notification server is fake."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.desktop.actors import FakeServer
from tests.desktop.desk import Desk, run, until
from tests.desktop.desk import desk as make_desk
from tests.lab.vpn.test_vpn_sign_in import CONFIG, VPN, Scene
from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab

WRONG = 'sign_in = ["sh", "-c", "echo try; echo \'the code is wrong\'; exit 1"]\n'


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Create a desktop with a session bus, and no screen."""
    with make_desk() as made:
        made.bus()
        yield made


@pytest.fixture
def scene(lab: Lab, desk: Desk) -> Iterator[Scene]:
    """Build the scene for an agent with a desktop. If the machine cannot run it, skip, but not in CI."""
    with Agent(
        lab, desktop={"DBUS_SESSION_BUS_ADDRESS": desk.environment["DBUS_SESSION_BUS_ADDRESS"]}
    ) as agent:
        try:
            yield Scene(lab, agent)
        except TrayagentError as error:
            if error.code in UNAVAILABLE and not os.environ.get("CI"):
                pytest.skip(str(error))
            raise


def bodies(server: FakeServer, title: str) -> list[str]:
    """Return the texts of all shown notifications with that title."""
    return [told[2] for _, told in server.shown if title in told[1]]


def more_than(server: FakeServer, count: int) -> bool:
    """Report whether the server has shown more than `count` notifications."""
    return len(server.shown) > count


def test_a_dead_vpn_is_signed_in_to_by_the_messages_button(scene: Scene, desk: Desk) -> None:
    """If the VPN server lost the session, one click on the notification signs in again, and the host is connected."""

    async def body() -> None:
        server = await FakeServer().take(desk.environment["DBUS_SESSION_BUS_ADDRESS"])
        scene.begin("right")
        scene.manager.up(VPN)
        scene.agent.wait_state("db", "connected")
        scene.server.kill()
        scene.agent.cli("disconnect", "db")
        scene.agent.cli("reconnect", "db")
        scene.wait_vpn("needs-sign-in")
        await until(lambda: bodies(server, "Sign in to VPN corp"), "the message")
        scene.server.start()
        server.ActionInvoked(server.last, "sign-in")
        await until(lambda: (scene.agent.host("db") or {})["state"] == "connected", "connected again")
        assert scene.agent.status()["vpns"][0]["state"] == "up"
        assert len(bodies(server, "Sign in to VPN corp")) == 1
        server.leave()

    run(body())


def test_a_failed_sign_in_is_shown_in_the_same_notification(scene: Scene, desk: Desk) -> None:
    """After each failed sign-in, the same notification and `vpns[].problem.hint` show the last line of its output."""

    async def body() -> None:
        server = await FakeServer().take(desk.environment["DBUS_SESSION_BUS_ADDRESS"])
        scene.agent.configure(CONFIG + WRONG)
        scene.manager.add_vpn(VPN, scene.server, password="wrong")  # noqa: S106 - exists only in this laboratory
        scene.agent.start()
        scene.manager.up(VPN)
        await until(lambda: bodies(server, "Sign in to VPN corp"), "the message")
        for _ in range(2):
            before = len(server.shown)
            server.ActionInvoked(server.last, "sign-in")
            await until(partial(more_than, server, before), "it failed")
            assert "the code is wrong" in bodies(server, "Sign in to VPN corp")[-1]
            await asyncio.sleep(1.1)  # the agent distinguishes tries by the second of their start
        assert "the code is wrong" in scene.agent.status()["vpns"][0]["problem"]["hint"]
        assert {told[1] for _, told in server.shown} == {"Sign in to VPN corp"}, "no message of its own"
        assert len({number for number, _ in server.shown}) == 1, "always the same one"
        server.leave()

    run(body())
