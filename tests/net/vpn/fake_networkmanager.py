"""A minimal NetworkManager that answers GetAll from a dictionary, and sends the signals that a test requests.

During a connection's life, it sends its signals in the same order as NetworkManager 1.42.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from trayagent.net.vpn import networkmanager_constants as words

LAN, DEVICE, TUNNEL, POINT = (
    f"{words.ROOT}/{name}" for name in ("ActiveConnection/1", "Devices/2", "Devices/3", "AccessPoint/7")
)
CONFIG = f"{words.ROOT}/IP4Config/4"
CORP = "11111111-1111-1111-1111-111111111111"
SETTINGS_CONNECTION = f"{words.NAME}.Settings.Connection"

SIGNATURES = {
    "ActiveConnections": "ao", "Devices": "ao", "PrimaryConnection": "o", "Connectivity": "u", "Id": "s", "Uuid": "s",
    "Type": "s", "State": "u", "VpnState": "u", "Vpn": "b", "SpecificObject": "o", "Ip4Config": "o", "Ip6Config": "o",
    "Interface": "s", "IpInterface": "s", "Ssid": "ay", "Metered": "u",
}  # fmt: skip


def variants(values: dict[str, Any]) -> dict[str, Variant]:
    """Wrap values as D-Bus does. Values that are already wrapped (malformed on purpose) stay."""
    return {
        key: value if isinstance(value, Variant) else Variant(SIGNATURES[key], value)
        for key, value in values.items()
    }


class FakeNetworkManager:
    """One run of NetworkManager on a bus, with a connected Wi-Fi and possibly VPNs."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.profiles: dict[str, dict[str, str]] = {}
        self.activated: list[list[Any]] = []
        self.deactivated: list[list[Any]] = []
        self.refusal: tuple[str, str] | None = None
        self.asked = 0
        self.stubborn = False
        """If set, a connection does not go down."""
        self.dies_at: tuple[str, Callable[[], None]] | None = None
        """The name of a method, and a function that kills the bus before the method's answer."""
        self.objects[words.ROOT, words.NAME] = {
            "Connectivity": 4, "PrimaryConnection": LAN, "ActiveConnections": [LAN], "Devices": [DEVICE],
        }  # fmt: skip
        self.objects[LAN, words.ACTIVE] = {
            "Id": "Cafe profile", "Uuid": "2", "Type": words.WIFI, "State": 2, "Vpn": False, "Devices": [DEVICE],
            "SpecificObject": POINT, "Ip4Config": "/", "Ip6Config": "/",
        }  # fmt: skip
        self.objects[DEVICE, words.DEVICE] = {"Interface": "wlan0", "IpInterface": "wlan0", "Ip4Config": "/"}
        self.objects[POINT, words.ACCESS_POINT] = {"Ssid": "Café".encode()}

    @classmethod
    async def on(cls, address: str, *, named: bool = True) -> FakeNetworkManager:
        """Connect to a bus, and take NetworkManager's name."""
        made = cls(await MessageBus(address).connect())
        made.bus.add_message_handler(made._answer)
        if named:
            await made.take_name()
        return made

    async def take_name(self) -> None:
        """Take the name."""
        await self.bus.request_name(words.NAME)

    def leave(self) -> None:
        """Disconnect, as in a crash: the name vanishes with the connection."""
        self.bus.disconnect()

    # -- events -------------------------------------------------------------------------------------

    async def connect(self, number: int, name: str = "Corp VPN", uuid: str = CORP, kind: str = "vpn") -> str:
        """Begin to bring a VPN up, and return its path."""
        path = f"{words.ACTIVE_PATHS}{number}"
        plugin = kind == "vpn"
        active = {
            "Id": name, "Uuid": uuid, "Type": kind, "State": 1, "Vpn": plugin, "Ip4Config": "/", "Ip6Config": "/",
            "Devices": [DEVICE if plugin else TUNNEL], "SpecificObject": LAN,
        }  # fmt: skip
        self.objects[path, words.ACTIVE] = active
        told = {words.ACTIVE: variants(active)}
        if plugin:
            self.objects[path, words.VPN] = {"VpnState": 1}
            told[words.VPN] = variants({"VpnState": 1})
        await self.signal(words.OBJECTS, words.OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, told])
        await self.signal(path, words.ACTIVE, "StateChanged", "uu", [1, 1])
        return path

    async def activated_as(self, path: str, interface: str = "tun0") -> None:
        """Finish bringing a VPN up."""
        self.objects[TUNNEL, words.DEVICE] = {
            "Interface": interface, "IpInterface": interface, "Ip4Config": CONFIG,
        }  # fmt: skip
        await self.change(words.ROOT, words.NAME, Devices=[DEVICE, TUNNEL])
        await self.change(path, words.ACTIVE, Ip4Config=CONFIG)
        await self.state(path, 2, 1)
        await self.change(path, words.VPN, VpnState=5)

    async def end(self, path: str, reason: int) -> None:
        """End a connection for this reason, and remove its object."""
        await self.state(path, 4, reason)
        await self.signal(path, words.VPN, "VpnStateChanged", "uu", [7 if reason == 2 else 6, reason])
        self.forget(path)
        gone = [path, [words.ACTIVE, words.VPN]]
        await self.signal(words.OBJECTS, words.OBJECT_MANAGER, "InterfacesRemoved", "oas", gone)

    def forget(self, path: str) -> None:
        """Stop answering for an object."""
        self.objects = {key: value for key, value in self.objects.items() if key[0] != path}

    async def state(self, path: str, state: int, reason: int) -> None:
        """Change an active connection's state."""
        await self.signal(path, words.ACTIVE, "StateChanged", "uu", [state, reason])
        await self.change(path, words.ACTIVE, State=state)

    async def change(self, path: str, interface: str, **values: Any) -> None:
        """Change properties."""
        self.objects.setdefault((path, interface), {}).update(values)
        body = [interface, variants(values), []]
        await self.signal(path, words.PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    async def signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        """Send any signal."""
        await self.bus.send(Message.new_signal(path, interface, member, signature, body))

    async def signal_to(self, destination: str | None, path: str, values: dict[str, Any]) -> None:
        """Send a change of properties directly to one process."""
        interface = words.NAME if path == words.ROOT else words.ACTIVE
        message = Message.new_signal(
            path, words.PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, variants(values), []]
        )
        message.destination = destination
        await self.bus.send(message)

    # -- requests -----------------------------------------------------------------------------------

    def _answer(self, message: Message) -> Message | bool:
        if (
            message.message_type is not MessageType.METHOD_CALL
            or message.destination == "org.freedesktop.DBus"
        ):
            return False
        self.asked += 1
        path = message.path or ""
        if self.dies_at is not None and message.member == self.dies_at[0]:
            self.dies_at[1]()
            return True
        match message.member:
            case "GetAll" if (found := self.objects.get((path, message.body[0]))) is not None:
                return Message.new_method_return(message, "a{sv}", [variants(found)])
            case "ListConnections":
                return Message.new_method_return(message, "ao", [list(self.profiles)])
            case "GetSettings" if path in self.profiles:
                table = {key: Variant("s", value) for key, value in self.profiles[path].items()}
                return Message.new_method_return(message, "a{sa{sv}}", [{"connection": table}])
            case "DeactivateConnection":
                self.deactivated.append(message.body)
                active = self.objects[words.ROOT, words.NAME]
                stays = self.stubborn
                left = [p for p in active["ActiveConnections"] if p != message.body[0] or stays]
                asyncio.get_running_loop().call_later(0.1, active.update, {"ActiveConnections": left})
                return Message.new_method_return(message)
            case "ActivateConnection" if self.refusal is None:
                self.activated.append(message.body)
                return Message.new_method_return(message, "o", [f"{words.ACTIVE_PATHS}9"])
            case "ActivateConnection" if self.refusal is not None:
                return Message.new_error(message, *self.refusal)
        return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", f"no {path}")


class FakePlugin:
    """A VPN plug-in's process, which has its own name on the bus and reports why it failed."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    async def on(cls, address: str, name: str) -> FakePlugin:
        """Connect to a bus under this name."""
        made = cls(await MessageBus(address).connect())
        await made._bus.request_name(name)
        return made

    async def fail(self, failure: int) -> None:
        """Send NMVpnPluginFailure."""
        path = f"{words.ROOT}/VPN/Plugin"
        await self._bus.send(Message.new_signal(path, words.PLUGIN, "Failure", "u", [failure]))

    def leave(self) -> None:
        """Disconnect from the bus."""
        self._bus.disconnect()
