"""Query what NetworkManager's signals do not contain: the initial state, and a connection's interface."""

from __future__ import annotations

import asyncio
from typing import Any

from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_bus import Bus
from trayagent.net.vpn.networkmanager_signals import Plugins
from trayagent.net.vpn.networkmanager_state import NO_PATH, Picture, Question

# Retry, because a NetworkManager that has just started has no objects for some 200 ms (measured with 1.42), and a
# hanging one may recover.
FIRST_RETRY_S, COMPLAIN_AT_S, LAST_RETRY_S = 0.05, 1.0, 60.0


async def load(bus: Bus, picture: Picture, plugins: Plugins) -> None:
    """Read manager, active connections and plug-ins; retry until NetworkManager answers. Never raises.

    Signals may update the same picture meanwhile. This does no harm, because the messages of one sender arrive in
    order.
    """
    retry_s = FIRST_RETRY_S
    await _find_plugins(bus, plugins)
    while not (root := await _properties(bus, words.ROOT, words.NAME)):
        if retry_s >= COMPLAIN_AT_S:
            picture.complain("silence", "it does not answer")
        await asyncio.sleep(retry_s)
        retry_s = min(retry_s * 2, LAST_RETRY_S)
    picture.root_changed(root)
    for path in picture.active_paths():
        for interface in (words.ACTIVE, words.VPN):
            if properties := await _properties(bus, path, interface):
                picture.active_changed(path, properties)


async def answer(bus: Bus, picture: Picture, question: Question) -> None:
    """Find the interface of an active connection, if possible, and whether it is metered; never raises."""
    interface = ssid = None
    device: dict[str, Any] = {}
    if question.configs is not None:
        interface = await _device_with(bus, question.devices, question.configs)
    elif question.devices:
        device = await _properties(bus, question.devices[0], words.DEVICE)
        interface = _name_of(device)
    if question.access_point not in NO_PATH:
        ssid = picture.read.octets(await _properties(bus, question.access_point, words.ACCESS_POINT), "Ssid")
    picture.answer(question, interface, ssid or None, picture.read.number(device, "Metered"))


async def _device_with(bus: Bus, devices: tuple[str, ...], configs: frozenset[str]) -> str | None:
    """Return the interface of the device that has one of the configurations."""
    for path in reversed(devices):  # a tunnel's device is the newest
        device = await _properties(bus, path, words.DEVICE)
        if configs & {device.get("Ip4Config"), device.get("Ip6Config")}:
            return _name_of(device)
    return None


def _name_of(device: dict[str, Any]) -> str | None:
    """Return the interface that carries a device's packets (a modem's differs from its control port)."""
    for key in ("IpInterface", "Interface"):
        if isinstance(name := device.get(key), str) and name:
            return name
    return None


async def _properties(bus: Bus, path: str, interface: str) -> dict[str, Any]:
    """Return an object's properties, {} if the object is gone or there is no answer."""
    from dbus_fast.errors import DBusError, InvalidObjectPathError

    try:
        return await bus.properties(path, interface)
    except (DBusError, TimeoutError, InvalidObjectPathError):
        return {}


async def _find_plugins(bus: Bus, plugins: Plugins) -> None:
    """Register the plug-ins that run already."""
    from dbus_fast.errors import DBusError

    try:
        (names,) = await bus.call_bus("ListNames")
    except (DBusError, TimeoutError, ValueError):
        return
    for name in names:
        if name.startswith(f"{words.NAME}.") and (owner := await bus.owner(name)):
            plugins.owner_changed(name, "", owner)
