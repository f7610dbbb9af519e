"""Scopes for masters, with a fake user manager on a private bus. `make fresh` tests the real one."""

# dbus-fast reads the annotations of a service when the class is created.

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from dbus_fast import NameFlag
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method

from tests.desktop.desk import Desk, run, until
from trayagent.desktop.scopes import linux_unit
from trayagent.desktop.scopes.linux_scopes import (
    SLOW_IN_A_ROW,
    Scopes,
    manager_bus_address,
    scope_name,
)
from trayagent.ssh.master.launch_and_wait import LaunchFailedError, launch

Properties = Annotated[list[tuple[str, Any]], DBusSignature("a(sv)")]
Auxiliary = Annotated[list[Any], DBusSignature("a(sa(sv))")]


class Manager(ServiceInterface):
    """A fake user manager that accepts scopes.

    `groups` replaces /proc/PID/cgroup; `error`, `moves` and `delay_s` cause failures.
    """

    def __init__(self) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self.scopes: dict[str, dict[str, Any]] = {}
        self.groups: dict[int, str] = {}
        self.error = ""
        self.moves = True
        self.delay_s = 0.0

    @dbus_method()
    async def StartTransientUnit(  # noqa: N802  # the name is systemd's
        self, name: DBusStr, mode: DBusStr, properties: Properties, aux: Auxiliary
    ) -> DBusObjectPath:
        """Create a scope."""
        assert (mode, aux) == ("fail", [])
        await asyncio.sleep(self.delay_s)
        if self.error:
            raise DBusError(self.error, "no")
        self.scopes[name] = {key: value.value for key, value in properties}
        for pid in self.scopes[name]["PIDs"]:
            if self.moves:
                self.groups[pid] = f"0::/user.slice/app.slice/{name}\n"
        return "/org/freedesktop/systemd1/job/1"


@asynccontextmanager
async def managed(address: str) -> AsyncIterator[Manager]:
    """Run a fake user manager on the bus."""
    bus = await MessageBus(address).connect()
    manager = Manager()
    bus.export("/org/freedesktop/systemd1", manager)
    await bus.request_name("org.freedesktop.systemd1", NameFlag.DO_NOT_QUEUE)
    try:
        yield manager
    finally:
        bus.disconnect()


@asynccontextmanager
async def scopes_of(desk: Desk) -> AsyncIterator[tuple[Scopes, Manager]]:
    """Yield scopes with a fake manager."""
    address = desk.bus()
    async with managed(address) as manager:
        scopes = Scopes(lambda: address, lambda pid: manager.groups.get(pid, ""))
        await scopes.open()
        try:
            yield scopes, manager
        finally:
            await scopes.close()


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts a command with `launch` instead of ssh.

    By default the command creates the socket.
    """
    socket = tmp_path / "socket"

    async def started(prepare: Any, *words: str) -> Any:
        return await launch(
            words or ("touch", str(socket)), str(socket), tmp_path / "log", deadline_s=5, environment=os.environ,
            prepare=prepare, waits=True,
        )  # fmt: skip

    yield started


def test_a_manager_that_joins_the_bus_after_the_agent_is_used(desk: Desk) -> None:
    """At a login systemd starts the bus for the agent, and joins it a moment later: the first master has its scope."""

    async def body() -> None:
        address = desk.bus()
        groups: dict[int, str] = {}
        scopes = Scopes(lambda: address, lambda pid: groups.get(pid, ""), lambda: True)
        opening = asyncio.create_task(scopes.open())
        await asyncio.sleep(0.1)
        async with managed(address) as manager:
            manager.groups = groups
            await opening
            assert await scopes.take("web01", 4711)
            assert list(manager.scopes) == ["trayagent-web01-4711.scope"]
        await scopes.close()

    run(body())


def test_without_a_manager_no_login_waits_for_one(desk: Desk) -> None:
    """On a bus without systemd the agent does not wait for it."""

    async def body() -> None:
        address = desk.bus()
        scopes = Scopes(lambda: address, runs=lambda: False)
        await scopes.open()
        assert not scopes.ready
        await scopes.close()

    run(body())


def test_a_master_gets_a_scope_before_it_begins(desk: Desk, waiting: Any, tmp_path: Path) -> None:
    """The master is in its scope before it starts, and so are all its children. The scope is in app.slice."""

    async def body() -> None:
        async with scopes_of(desk) as (scopes, manager):
            seen = []

            async def take(pid: int) -> None:
                assert await scopes.take("web01", pid)
                seen.append((pid, (tmp_path / "socket").exists()))

            launched = await waiting(take)
            ((pid, begun),) = seen
            assert not begun
            assert launched.process.pid == pid
            assert launched.process.wait(20) == 0
            scope = manager.scopes[f"trayagent-web01-{pid}.scope"]
            assert scope["PIDs"] == [pid]
            assert (scope["Slice"], scope["CollectMode"]) == ("app.slice", "inactive-or-failed")

    run(body())


def test_the_near_relay_gets_a_scope_of_its_own(desk: Desk) -> None:
    """The near relay gets its own scope, so that it outlives the agent.

    It waits longer for a slow manager than masters do.
    """

    async def body() -> None:
        async with scopes_of(desk) as (scopes, manager):
            manager.delay_s = 0.2
            assert await scopes.take_relay(1234)
            assert manager.scopes["trayagent-roaming-1234.scope"]["PIDs"] == [1234]

    run(body())


@pytest.mark.parametrize("trouble", ["slow", "does not move", "refuses", "no manager"])
def test_a_master_never_waits_long_for_its_scope(desk: Desk, waiting: Any, trouble: str) -> None:
    """If the manager is slow or refuses, the master starts without a scope.

    A slow or missing manager is not used again.
    """

    async def body() -> None:
        async with scopes_of(desk) as (scopes, manager):
            manager.delay_s = 5.0 if trouble == "slow" else 0.0
            manager.moves = trouble != "does not move"
            manager.error = {
                "refuses": "org.freedesktop.systemd1.UnitExists",
                "no manager": "org.freedesktop.DBus.Error.ServiceUnknown",
            }.get(trouble, "")
            took_s = []

            async def take(pid: int) -> None:
                began = time.monotonic()
                assert not await scopes.take("web01", pid)
                took_s.append(time.monotonic() - began)

            launched = await waiting(take)
            assert launched.process.wait(20) == 0
            assert took_s[0] < 3.0  # allows for a busy machine; the slow manager would take 5 s
            assert scopes.ready is (trouble != "no manager")
            for pid in range(2001, 2001 + SLOW_IN_A_ROW - 1):
                await scopes.take("web01", pid)
            assert scopes.ready is (trouble == "refuses")

    run(body())


def test_a_bus_that_died_is_connected_again(desk: Desk) -> None:
    """After a new bus and manager appeared, the next master gets a scope."""

    async def body() -> None:
        async with scopes_of(desk) as (scopes, _):
            assert await scopes.take("web01", 1001)
            desk.end(desk._children[-1])
            await until(lambda: not scopes.connected, "its end is noticed")
            async with managed(desk.bus()) as manager:
                scopes._groups = lambda pid: manager.groups.get(pid, "")  # the new manager has this scope
                assert await scopes.take("web01", 1002)
                assert list(manager.scopes) == ["trayagent-web01-1002.scope"]

    run(body())


def test_on_a_bus_without_systemd_nothing_waits(desk: Desk) -> None:
    """On a desktop with another init system, the session bus has no systemd, so masters start without a scope."""

    async def body() -> None:
        address = desk.bus()
        scopes = Scopes(lambda: address)
        await scopes.open()
        assert scopes.connected
        assert not scopes.ready
        await scopes.close()

    run(body())


def test_without_a_bus_nothing_waits(tmp_path: Path) -> None:
    """If XDG_RUNTIME_DIR is not set or contains no bus, masters start without a scope."""
    assert manager_bus_address({}) is None
    assert manager_bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
    scopes = Scopes(lambda: None)
    asyncio.run(scopes.open())
    assert not scopes.ready


def test_the_user_managers_bus_is_in_the_runtime_directory(tmp_path: Path) -> None:
    """The manager's bus is used even if the session has another one, as after dbus-run-session."""
    (tmp_path / "bus").touch()
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/other"}
    assert manager_bus_address(env) == f"unix:path={tmp_path}/bus"
    (tmp_path / "bus").unlink()
    assert manager_bus_address(env) == "unix:path=/other"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web01", "trayagent-web01-7.scope"),
        ("me@db.example", r"trayagent-me\x40db.example-7.scope"),
        ("a-b", r"trayagent-a\x2db-7.scope"),
        (".x", r"trayagent-\x2ex-7.scope"),
        ("ü/\\", r"trayagent-\xc3\xbc\x2f\x5c-7.scope"),
    ],
)
def test_a_scope_is_named_after_host_and_process(host: str, name: str) -> None:
    """The scope's name contains the host, escaped as systemd-escape does."""
    assert scope_name(host, 7) == name


def test_a_long_name_is_cut() -> None:
    """A long host name is cut so that the unit's name has at most 255 characters.

    The pid stays, and no escape is cut in two.
    """
    name = scope_name("-" * 300, 4194304)
    assert len(name) <= 255
    assert name.endswith(r"\x2d-4194304.scope")


def test_a_program_that_is_missing_is_still_reported(waiting: Any) -> None:
    """If ssh is missing, the error is reported although a shell waits in its place."""

    async def prepare(_: int) -> None:
        raise AssertionError("nothing was started")

    with pytest.raises(FileNotFoundError):
        asyncio.run(waiting(prepare, "/nowhere/ssh"))


def test_the_output_and_status_of_ssh_pass_through(waiting: Any) -> None:
    """Output and status are the same as without a scope, and the standard input is empty."""

    async def prepare(_: int) -> None:
        return

    with pytest.raises(LaunchFailedError) as failed:
        asyncio.run(waiting(prepare, "sh", "-c", 'read -r x; echo "said <$x> $1" >&2; exit 3', "sh", "it's"))
    assert (failed.value.output.others, failed.value.status) == ("said <> it's\n", 3)


def test_an_agent_that_dies_meanwhile_leaves_no_ssh(tmp_path: Path) -> None:
    """The waiting process ends with the agent, because the agent would not know a master that starts now."""
    code = (
        "import os, sys; from pathlib import Path; from trayagent.ssh.master.spawn import spawn; "
        "spawn(['touch', sys.argv[1]], Path(sys.argv[2]), os.environ, waits=True); os._exit(0)"
    )
    socket, log = tmp_path / "socket", tmp_path / "log"
    words = [sys.executable, "-c", code, str(socket), str(log)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=20)  # until both have ended
    assert done.returncode == 0, done.stderr
    assert not socket.exists()


def test_only_the_main_process_of_a_service_moves_other_processes() -> None:
    """Only the main process of a service moves processes into scopes, not an agent in a terminal or a test."""
    assert linux_unit.beside_us({}) == []
    assert linux_unit.beside_us({"SYSTEMD_EXEC_PID": "1"}) == []
