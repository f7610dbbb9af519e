"""A fake of the user's secret agent, which normally shows the dialog for a VPN's password."""

from __future__ import annotations

from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.auth import UID_NOT_SPECIFIED, AuthExternal

NM = "org.freedesktop.NetworkManager"
AGENT = f"{NM}.SecretAgent"
# VPN hints: NetworkManager may request another password while a VPN connects, as with GNOME's and KDE's dialogs.
VPN_HINTS = 1


class SecretAgent:
    """A secret agent that answers each request with its next password, and cancels when no password is left."""

    def __init__(self, bus: MessageBus, passwords: list[str]) -> None:
        self._bus, self._passwords = bus, passwords
        self.asked: list[str] = []
        self.unseen = False
        """If set, the fake user does not answer."""

    @classmethod
    async def on(cls, address: str, *passwords: str, capabilities: int) -> SecretAgent:
        """Register with the NetworkManager on that bus."""
        bus = await MessageBus(address, auth=AuthExternal(UID_NOT_SPECIFIED)).connect()
        made = cls(bus, list(passwords))
        bus.add_message_handler(made._answer)
        reply = await bus.call(
            Message(
                destination=NM,
                path="/org/freedesktop/NetworkManager/AgentManager",
                interface=f"{NM}.AgentManager",
                member="RegisterWithCapabilities",
                signature="su",
                body=["lab", capabilities],
            )
        )
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return made

    def _answer(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != AGENT:
            return False
        if message.member != "GetSecrets":
            return Message.new_method_return(message)
        connection: dict[str, Any] = message.body[0]
        self.asked.append(connection["connection"]["id"].value)
        if self.unseen:
            return True
        if not self._passwords:
            return Message.new_error(message, f"{AGENT}.UserCanceled", "the dialog was closed")
        secrets = {"vpn": {"secrets": Variant("a{ss}", {"password": self._passwords.pop(0)})}}
        return Message.new_method_return(message, "a{sa{sv}}", [secrets])

    def leave(self) -> None:
        """Unregister by leaving the bus."""
        self._bus.disconnect()
