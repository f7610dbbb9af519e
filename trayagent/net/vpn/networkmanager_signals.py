"""Apply NetworkManager's signals to the picture; malformed signals are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_state import Picture

if TYPE_CHECKING:
    from dbus_fast import Message


class Plugins:
    """Tracks which process on the bus is the plug-in of which active connection.

    A plug-in that serves several connections is started once for each, under the name
    `SERVICE.Connection_N`, where N is the number in the active connection's path (seen with 1.42).
    """

    def __init__(self) -> None:
        self._path_of: dict[str, str | None] = {}

    def owner_changed(self, name: str, old: str, new: str) -> None:
        """Record that a bus name which begins with NetworkManager's name got another owner."""
        _, mark, number = name.rpartition(".Connection_")
        if new:
            self._path_of[new] = f"{words.ACTIVE_PATHS}{number}" if mark and number.isdigit() else None
        else:
            self._path_of.pop(old, None)

    def knows(self, sender: str | None) -> bool:
        """Report whether this process is a plug-in."""
        return sender in self._path_of

    def path(self, sender: str) -> str | None:
        """Return the path of the active connection, None if the plug-in's name does not contain the path."""
        return self._path_of.get(sender)


def apply(message: Message, body: list[Any], picture: Picture, plugins: Plugins) -> bool:
    """Apply one signal (variants unpacked) to the picture; report whether it was relevant."""
    match (message.interface, message.member, message.signature):
        case (words.PROPERTIES, "PropertiesChanged", "sa{sv}as"):
            return _properties(message.path or "", body[0], body[1], picture)
        case (words.ACTIVE, "StateChanged", "uu"):
            picture.active_state(message.path or "", body[0], body[1])
        case (words.OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}"):
            for interface, properties in body[1].items():
                if interface in {words.ACTIVE, words.VPN}:
                    picture.active_changed(body[0], properties)
        case (words.OBJECT_MANAGER, "InterfacesRemoved", "oas"):
            if words.ACTIVE in body[1]:
                picture.active_removed(body[0])
        case (words.PLUGIN, "Failure", "u"):
            if body[0] != words.PLUGIN_LOGIN_FAILED:
                return False
            picture.login_failed(plugins.path(message.sender or ""))
        case _:
            return False
    return True


def _properties(path: str, interface: str, changed: dict[str, Any], picture: Picture) -> bool:
    if path == words.ROOT and interface == words.NAME:
        picture.root_changed(changed)
    elif path.startswith(words.ACTIVE_PATHS) and interface in {words.ACTIVE, words.VPN}:
        picture.active_changed(path, changed)
    elif path.startswith(words.DEVICE_PATHS) and interface == words.DEVICE and "Metered" in changed:
        picture.metered_changed(path, changed)
    else:
        return False
    return True
