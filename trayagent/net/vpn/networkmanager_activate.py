"""Bring up a VPN connection, as a user's click does.

The agent makes no other change in NetworkManager.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from typing import Any

from msgspec import Struct

from trayagent.errors import TrayagentError
from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_bus import Bus

_ERROR = f"{words.NAME}."
DOWN_S = 10.0  # NetworkManager gives a plug-in some seconds to disconnect
_POLL_S = 0.05


class Profile(Struct, frozen=True):
    """A saved VPN connection."""

    path: str
    name: str
    uuid: str


async def vpn_profiles(bus: Bus | None) -> list[Profile]:
    """Return the VPN connections that this user may see; raises TrayagentError (networkmanager-missing)."""
    from dbus_fast.errors import DBusError

    if bus is None:
        raise _missing("NetworkManager is not running")
    try:
        (paths,) = await bus.call_method(words.SETTINGS, f"{words.NAME}.Settings", "ListConnections")
        found = [await _profile(bus, path) for path in paths]
    except (DBusError, TimeoutError, EOFError, OSError, ValueError) as e:
        raise _missing(f"NetworkManager does not list its connections: {e}") from e
    return [profile for profile in found if profile is not None]


async def activate(bus: Bus | None, name: str, *, restart: bool = False) -> None:
    """Activate the VPN connection with this name or UUID; `restart`: take an active connection down first.

    Raises TrayagentError: networkmanager-missing, vpn-unknown, vpn-active, vpn-refused.
    """
    from dbus_fast.errors import DBusError

    profiles = await vpn_profiles(bus)
    profile = next((p for p in profiles if name in (p.name, p.uuid)), None)
    if bus is None or profile is None:
        known = ", ".join(sorted(f'"{p.name}"' for p in profiles)) or "none"
        what = f'NetworkManager has no VPN connection "{name}"'
        raise TrayagentError(what, code="vpn-unknown", hint=f"It has: {known}")
    try:
        if restart:
            await _take_down(bus, profile)
        # Name no device and no object, so that NetworkManager chooses the underlay.
        await bus.call_method(words.ROOT, words.NAME, "ActivateConnection", "ooo", [profile.path, "/", "/"])
    except DBusError as e:
        raise _refused(profile.name, e.type.removeprefix(_ERROR), e.text) from e
    except (TimeoutError, EOFError, OSError, ValueError) as e:
        raise _missing(f"NetworkManager does not answer: {e}") from e


async def _take_down(bus: Bus, profile: Profile) -> None:
    """Take the connection down, and wait until it is down.

    NetworkManager refuses to bring up a connection that is going down.
    """
    from dbus_fast.errors import DBusError

    for path in await _active(bus, profile):
        with contextlib.suppress(DBusError):  # the connection ended meanwhile
            await bus.call_method(words.ROOT, words.NAME, "DeactivateConnection", "o", [path])
    until = asyncio.get_running_loop().time() + DOWN_S
    while await _active(bus, profile):
        if asyncio.get_running_loop().time() > until:
            hint = f"Try it by hand: nmcli connection down {shlex.quote(profile.name)}, then sign in again."
            title = f'VPN connection "{profile.name}" does not go down'
            raise TrayagentError(title, code="vpn-refused", hint=hint)
        await asyncio.sleep(_POLL_S)


async def _active(bus: Bus, profile: Profile) -> list[str]:
    """Return the paths of the profile's active connections."""
    from dbus_fast.errors import DBusError

    paths = (await bus.properties(words.ROOT, words.NAME)).get("ActiveConnections", [])
    found = []
    for path in paths:
        with contextlib.suppress(DBusError):  # the connection ended meanwhile
            if (await bus.properties(path, words.ACTIVE)).get("Uuid") == profile.uuid:
                found.append(path)
    return found


async def _profile(bus: Bus, path: str) -> Profile | None:
    """Return a saved connection if it is a VPN. Return None if it is not, or if it has vanished meanwhile."""
    from dbus_fast.errors import DBusError

    try:
        (settings,) = await bus.call_method(path, f"{words.NAME}.Settings.Connection", "GetSettings")
    except (DBusError, TimeoutError, ValueError):
        return None
    table: Any = settings.get("connection", {}) if isinstance(settings, dict) else {}
    name, uuid, kind = (table.get(key) for key in ("id", "uuid", "type"))
    if kind not in words.VPN_TYPES or not isinstance(name, str) or not isinstance(uuid, str):
        return None
    return Profile(path, name, uuid)


def _missing(what: str) -> TrayagentError:
    hint = (
        "Start it: sudo systemctl start NetworkManager. Or set `interface` and `sign_in` in the VPN's table."
    )
    return TrayagentError(what, code="networkmanager-missing", hint=hint)


def _refused(name: str, kind: str, text: str) -> TrayagentError:
    quoted = shlex.quote(name)
    if kind == "ConnectionAlreadyActive":
        # If a session dies at the server, NetworkManager still considers its connection active.
        hint = f"If nothing behind it answers: nmcli connection down {quoted}, then sign in again."
        title = f'VPN connection "{name}" is up or connecting already'
        return TrayagentError(title, code="vpn-active", hint=hint)
    what = f'NetworkManager does not bring up "{name}": {text or kind}'
    return TrayagentError(
        what, code="vpn-refused", hint=f"Try it by hand: nmcli --ask connection up {quoted}"
    )
