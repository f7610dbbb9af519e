"""A login with a password from a desktop notification: the notification, its button, and the result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.desktop.actors import FakeServer
from tests.desktop.desk import Desk, run, until
from tests.desktop.desk import desk as make_desk
from tests.lab.pam import PASSWORD, Pam
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.lab_tools import tool

SECRET = "correct horse"  # noqa: S105  # the account exists only for this test


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Create a desktop with a bus."""
    with make_desk() as made:
        made.bus()
        yield made


def program(lab: Lab, name: str, script: str) -> str:
    """Write a program into the laboratory, and return its path."""
    path = lab.files.root / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.root
@pytest.mark.parametrize("way", ["terminal", "windows"])
def test_the_messages_button_logs_in_and_the_message_goes(lab: Lab, desk: Desk, way: str) -> None:
    """The button opens the user's terminal with the click's activation token.

    Without a terminal, ssh uses $SSH_ASKPASS.
    """
    Pam(lab.files).ask_password(SECRET)
    lab.join("home")
    lab.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
    lab.sshd(config=PASSWORD)
    asker = program(lab, "asker", f'echo "{SECRET}"')
    seen = lab.files.root / "seen"
    # A terminal emulator without a screen. It runs the command after -e, and `asker` answers the prompt.
    asked = f"SSH_ASKPASS={asker} SSH_ASKPASS_REQUIRE=force"
    terminal = program(lab, "terminal", f'echo "$XDG_ACTIVATION_TOKEN" > {seen}; shift; {asked} exec "$@"')
    session = {
        "DBUS_SESSION_BUS_ADDRESS": desk.environment["DBUS_SESSION_BUS_ADDRESS"],
        "XDG_RUNTIME_DIR": str(desk.folder),
        "DISPLAY": ":99",  # never used, because no program here opens a window
    }

    async def body(agent: Agent) -> None:
        server = await FakeServer().take(session["DBUS_SESSION_BUS_ADDRESS"])
        await asyncio.to_thread(agent.start, "[hosts.web01]\n")
        await until(lambda: server.shown, "no message")
        number, (_, title, text, actions, *_) = server.shown[-1]
        assert "web01" in title
        assert "trayagent login web01" in text
        assert "login" in actions
        server.ActivationToken(number, "token-of-this-click")
        server.ActionInvoked(number, "login")
        await asyncio.to_thread(agent.wait_state, "web01", "connected")
        await until(lambda: number in server.closed, "the message stays")
        if way == "terminal":
            assert seen.read_text() == "token-of-this-click\n"
        assert len(server.shown) == 1
        server.leave()

    with Agent(lab, desktop=session) as agent:
        if way == "terminal":
            agent.env["TERMINAL"] = terminal
        else:
            few = lab.files.root / "few"  # a PATH without a terminal emulator
            few.mkdir()
            (few / "env").symlink_to(tool("env"))  # the laboratory starts commands with env
            agent.env |= {"PATH": str(few), "SSH_ASKPASS": asker}
        run(body(agent))
