"""Checks the desktop: whether a panel shows the icon, and which program shows notifications."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from trayagent.desktop.bus_connection import BusCallError, Call, Connection
from trayagent.desktop.notifications.notification_server import SERVER
from trayagent.desktop.session_bus import NOT_TRIED, session_bus_address
from trayagent.desktop.tray.panel_registration import NO_HOST, NO_WATCHER, WATCHER
from trayagent.doctor.findings import Finding, advice, ok
from trayagent.doctor.gather_facts import Case

CONNECT_S = 2.0
ANSWER_S = 1.5
MANAGER = "org.freedesktop.systemd1"
_BUS = "org.freedesktop.DBus"


async def check(case: Case) -> Iterable[Finding]:
    """Report why the user does not see the icon or the notifications."""
    if sys.platform == "darwin":
        return [ok("the menu bar, and notifications by osascript, without buttons")]
    address = session_bus_address(case.env)
    display = case.env.get("WAYLAND_DISPLAY") or case.env.get("DISPLAY")
    absent = ok("no desktop session here: the agent runs without an icon")
    if address is None and not display:
        return [absent]
    if address is None:
        title = "There is a display, but no session bus: neither icon nor notifications can be shown"
        why = "DBUS_SESSION_BUS_ADDRESS is not set, and $XDG_RUNTIME_DIR/bus is missing."
        remedy = "Log in through the desktop, or start the agent in a bus of its own:"
        return [advice("no-session-bus", title, why, remedy, "dbus-run-session trayagent run")]
    try:
        async with _connected(address) as connection:
            has_icon = case.view is not None and case.view["agent"].get("tray") is not None
            if not display and not has_icon and not await _has_desktop(connection):
                return [absent]
            return [*await _tray(case, connection), *await _messages(case, connection)]
    except (OSError, EOFError, TimeoutError, BusCallError) as error:
        text = str(error) or "it does not answer"
        title, why = f"The session bus cannot be used: {text}", "Neither icon nor notifications can be shown."
        return [advice("no-session-bus", title, why, "Log out of the desktop and in again.")]


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Connection]:
    """Connect to the session bus, and disconnect at the end of the block. Raises OSError, EOFError, TimeoutError."""
    from dbus_fast.aio import MessageBus
    from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

    try:
        bus = MessageBus(address)
    except InvalidAddressError as error:
        raise OSError(str(error)) from error
    try:
        async with asyncio.timeout(CONNECT_S):
            await bus.connect()
        yield Connection(bus)
    except (AuthError, DBusError) as error:
        raise OSError(str(error)) from error
    finally:
        bus.disconnect()


async def _has_desktop(connection: Connection) -> bool:
    """Report whether the bus belongs to a desktop. systemd's user manager starts one for each login, also over ssh.

    Doctor itself may run outside the desktop, as over ssh, and then knows no display.
    """
    if await _has_owner(connection, WATCHER) or await _has_owner(connection, SERVER):
        return True
    get = Call(MANAGER, "/org/freedesktop/systemd1", "org.freedesktop.DBus.Properties", "Get")
    try:
        (environment,) = await connection.call(
            get, "ss", [f"{MANAGER}.Manager", "Environment"], answer="v", timeout_s=ANSWER_S
        )
    except BusCallError:
        return False
    return any(entry.startswith(("DISPLAY=", "WAYLAND_DISPLAY=")) for entry in environment.value)


async def _tray(case: Case, connection: Connection) -> list[Finding]:
    reported = case.view["agent"].get("no_tray") if case.view is not None else None
    if reported == NOT_TRIED:
        reported = None  # the agent has just started, and will try
    if reported == "--no-tray":
        return [ok("the agent was started with --no-tray")]
    if case.view is not None and case.view["agent"].get("tray") == "XEmbed":
        return [ok("the tray shows the icon by XEmbed, without a menu: a click opens the status page")]
    reason = reported or await _no_icon(connection)
    if reason is None:
        return [ok("a panel shows the icon")]
    title = "The icon is not visible" if reported else "The icon would not be visible"
    remedy = "Choose a panel that shows StatusNotifierItem icons; `trayagent status --watch` shows the same."
    return [advice("no-tray", f"{title}: {reason}", "Everything else works without it.", remedy)]


async def _no_icon(connection: Connection) -> str | None:
    """Return why no panel would show the icon, or None. If a watcher does not answer, assume that it works."""
    if not await _has_owner(connection, WATCHER):
        return NO_WATCHER
    get = Call(WATCHER, "/StatusNotifierWatcher", "org.freedesktop.DBus.Properties", "Get")
    try:
        (shows,) = await connection.call(
            get, "ss", [WATCHER, "IsStatusNotifierHostRegistered"], answer="v", timeout_s=ANSWER_S
        )
    except BusCallError:
        return None
    return NO_HOST if shows.value is False else None


async def _messages(case: Case, connection: Connection) -> list[Finding]:
    if case.config.agent.notify == "none":
        return [ok('no notifications: notify = "none"')]
    remedy = "Install one (Debian: sudo apt-get install xfce4-notifyd, or dunst)."
    why = "Only the icon and `trayagent status` show when you are needed (a sign-in, a passphrase)."
    if not await _has_owner(connection, SERVER) and SERVER not in await _activatable(connection):
        return [advice("no-notifications", "No program here shows notifications", why, remedy)]
    path = "/" + SERVER.replace(".", "/")
    try:
        (can,) = await connection.call(
            Call(SERVER, path, SERVER, "GetCapabilities"), answer="as", timeout_s=ANSWER_S
        )
        name, _, version, _ = await connection.call(
            Call(SERVER, path, SERVER, "GetServerInformation"), answer="ssss", timeout_s=ANSWER_S
        )
    except BusCallError as error:
        title = f"The program that shows notifications does not answer: {error}"
        return [advice("no-notifications", title, why, "Restart it: log out of the desktop and in again.")]
    buttons = "with buttons" if "actions" in can else "without buttons: their commands are in the menu"
    return [ok(f"notifications by {name} {version}, {buttons}")]


async def _has_owner(connection: Connection, name: str) -> bool:
    call = Call(_BUS, "/org/freedesktop/DBus", _BUS, "NameHasOwner")
    (owned,) = await connection.call(call, "s", [name], answer="b", timeout_s=ANSWER_S)
    return bool(owned)


async def _activatable(connection: Connection) -> list[str]:
    call = Call(_BUS, "/org/freedesktop/DBus", _BUS, "ListActivatableNames")
    (names,) = await connection.call(call, answer="as", timeout_s=ANSWER_S)
    return list(names)
