"""The connection to the session bus: found without DISPLAY, restored after a loss, harmless without a bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from dbus_fast import Message

from tests.desktop.actors import look
from tests.desktop.desk import Desk, run, until
from trayagent.desktop.bus_connection import BusCallError, Call, Connection
from trayagent.desktop.session_bus import SessionBus, session_bus_address
from trayagent.desktop.tray.linux_tray import StatusNotifierTray


class User:
    """A user of the bus that records its calls."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.connections, self.ends, self.trouble = list[Connection](), list[str](), trouble

    async def on_bus(self, connection: Connection) -> None:
        """Record the connection, and raise the error if there is one."""
        self.connections.append(connection)
        if self.trouble is not None:
            raise self.trouble

    def off_bus(self, reason: str) -> None:
        """Record the reason."""
        self.ends.append(reason)


def test_the_bus_is_found_as_a_systemd_unit_sees_it(tmp_path: Path) -> None:
    """The bus's address comes from the variable, else from the socket in the runtime directory.

    DISPLAY is not needed.
    """
    assert (
        session_bus_address({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/a", "XDG_RUNTIME_DIR": "/b"})
        == "unix:path=/a"
    )
    assert session_bus_address({"XDG_RUNTIME_DIR": str(tmp_path), "DISPLAY": ":0"}) is None
    (tmp_path / "bus").touch()
    assert session_bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path}/bus"
    assert session_bus_address({}) is None


def test_a_bus_that_died_is_connected_again_and_the_icon_is_back(desk: Desk) -> None:
    """When a bus dies and a new one appears, its users are notified of both, and the icon is back."""

    async def body() -> None:
        address = desk.bus()
        user, tray = User(), StatusNotifierTray(lambda _: None)
        bus = SessionBus([user, tray], addresses=lambda: [address], first_retry_s=0.02)
        tray.show(look())
        bus.start()
        for count in (1, 2, 3):
            await until(lambda n=count: len(user.connections) == n, "connected")  # type: ignore[misc]  # a default argument of a lambda
            await until(lambda: "no panel" in (tray.problem or ""), "the tray is on the bus")
            assert bus.problem is None
            desk.end(desk._children[-1])
            await until(lambda: bus.problem is not None, "its end is noticed")
            await until(lambda: "bus" in (tray.problem or ""), "the tray reports it")
            if count < 3:
                desk.bus()
        await bus.close()

    run(body())


def test_a_bus_that_never_was_costs_nothing_until_a_nudge(desk: Desk) -> None:
    """Without a bus no timer runs. A nudge finds the bus that a login has started."""

    async def body() -> None:
        user = User()
        bus = SessionBus(
            [user], addresses=lambda: [desk.environment.get("DBUS_SESSION_BUS_ADDRESS")], first_retry_s=0.01
        )
        bus.start()
        await until(lambda: user.ends, "the missing bus is reported")
        assert "DBUS_SESSION_BUS_ADDRESS is not set" in (bus.problem or "")
        await asyncio.sleep(0.1)
        assert len(user.ends) == 1
        desk.bus()
        bus.nudge()
        await until(lambda: user.connections, "connected")
        await bus.close()

    run(body())


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense", "carrier-pigeon:to=home", ""])
def test_a_wrong_address_is_a_problem_not_a_crash(address: str) -> None:
    """An invalid address in the variable sets `problem`, and the agent continues."""

    async def body() -> None:
        user = User()
        bus = SessionBus([user], addresses=lambda: [address or None])
        bus.start()
        await until(lambda: user.ends, "reported")
        assert "no session bus" in (bus.problem or "")
        await bus.close()

    run(body())


@pytest.mark.parametrize("trouble", [BusCallError("not today"), ValueError("a bug")])
def test_an_error_of_one_user_does_not_affect_the_others(
    desk: Desk, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """If one user of the bus raises an error, it is logged, and the connection stays for the others."""

    async def body() -> None:
        first, second = User(trouble), User()
        address = desk.bus()
        bus = SessionBus([first, second], addresses=lambda: [address])
        bus.start()
        await until(lambda: second.connections, "the other one is connected")
        await until(lambda: caplog.records, "it is logged")
        (answer,) = await second.connections[0].call(
            Call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames"), answer="as"
        )
        assert "org.freedesktop.DBus" in answer
        await bus.close()

    with caplog.at_level(logging.WARNING, "trayagent.desktop.session_bus"):
        run(body())


def test_calls_say_what_went_wrong(desk: Desk) -> None:
    """A refused call, an answer of the wrong type and an ended bus raise the same kind of error, with the reason."""

    async def body() -> None:
        user, address = User(), desk.bus()
        bus = SessionBus([user], addresses=lambda: [address])
        bus.start()
        await until(lambda: user.connections, "connected")
        connection = user.connections[0]
        there = ("org.freedesktop.DBus", "/", "org.freedesktop.DBus")
        with pytest.raises(BusCallError, match="does not understand"):
            await connection.call(Call(*there, "NoSuchThing"))
        with pytest.raises(BusCallError, match="answered 'as', not 's'"):
            await connection.call(Call(*there, "ListNames"), answer="s")
        desk.end(desk._children[-1])
        await until(lambda: user.ends, "its end is noticed")
        with pytest.raises(BusCallError, match="gone"):
            await connection.call(Call(*there, "ListNames"), answer="as")
        await bus.close()

    run(body())


def test_an_owner_that_changes_during_the_request_is_reported_once() -> None:
    """An owner that changes during the request is reported once, because its signal is newer than the answer."""

    class Bus:
        def __init__(self) -> None:
            self.hear: Callable[[Message], None] = lambda _: None

        def add_message_handler(self, handler: Callable[[Message], None]) -> None:
            self.hear = handler

        async def call(self, message: Message) -> Message:
            message.serial = 1
            if message.member != "GetNameOwner":
                return Message.new_method_return(message)
            there = ("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged")
            changed = Message.new_signal(*there, "sss", ["a.name", ":1.5", ":1.9"])
            changed.sender = "org.freedesktop.DBus"
            self.hear(changed)
            return Message.new_method_return(message, "s", [":1.5"])

    async def body() -> None:
        owners: list[str | None] = []
        connection = Connection(Bus())  # type: ignore[arg-type]  # a minimal fake of the bus
        await connection.watch_name("a.name", owners.append)
        assert owners == [":1.9"]

    run(body())


def test_a_bus_that_died_is_retried_less_and_less_often(desk: Desk) -> None:
    """After a bus died, the agent retries at growing intervals: after a logout, it must not stay awake for the bus."""

    async def body() -> None:
        user, address = User(), desk.bus()
        bus = SessionBus([user], addresses=lambda: [address], first_retry_s=0.05)
        bus.start()
        await until(lambda: user.connections, "connected")
        desk.end(desk._children[-1])
        await asyncio.sleep(1.0)  # retries at 0, 0.05, 0.15, 0.35 and 0.75 s
        assert 2 <= len(user.ends) <= 5
        await bus.close()

    run(body())
