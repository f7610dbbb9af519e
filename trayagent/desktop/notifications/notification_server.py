"""The notification server's interface: four methods and three signals.

Source: Desktop Notifications Specification 1.2.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from trayagent.desktop.bus_connection import BusCallError, Call, Connection, bus_text
from trayagent.desktop.notifications.message_type import Message
from trayagent.presentation.text import left_to_right

SERVER = "org.freedesktop.Notifications"
_PATH = "/org/freedesktop/Notifications"

# The urgency bytes of the specification.
_URGENCY = {"low": 0, "normal": 1, "critical": 2}

_SERVER_DECIDES, _NEVER = -1, 0

DEFAULT = "default"
"""The action of a click on the message itself."""
# These servers count the default action as a button. xfce4-notifyd would show the first button twice.
# lxqt-notificationd (2.1) shows at most three buttons: with four actions it shows a small list to choose from.
_DRAWS_DEFAULT = frozenset({"Xfce Notify Daemon", "lxqt-notificationd"})


class Server:
    """The notification server on a bus connection."""

    def __init__(self, connection: Connection, program: str) -> None:
        self._connection, self._program = connection, program
        self._can: frozenset[str] | None = None
        self._name = ""

    async def listen(
        self, heard: Callable[[int, str | None], None], activation: Callable[[int, str], None]
    ) -> None:
        """Call `heard(number, action)` for a pressed button; `action` None: the message left the screen.

        Call `activation(number, token)` with the token for the window that a button opens. The server sends the token
        before the button. Raises BusCallError.
        """
        await self._connection.listen(
            SERVER, SERVER, "ActivationToken", "us", lambda b: activation(b[0], b[1])
        )
        await self._connection.listen(SERVER, SERVER, "ActionInvoked", "us", lambda b: heard(b[0], b[1]))
        await self._connection.listen(SERVER, SERVER, "NotificationClosed", "uu", lambda b: heard(b[0], None))

    def restarted(self) -> None:
        """Read the capabilities again: the server may be another program."""
        self._can = None

    async def notify(self, message: Message, replaces: int) -> int:
        """Show a message, in place of message `replaces` unless that is 0. Return its number. Raises BusCallError.

        Waits for the answer without a time limit. After an abandoned call, the server might still show the message, and
        the agent could not withdraw it.
        """
        from dbus_fast import Variant

        can = await self._capabilities()
        text = bus_text(left_to_right(message.text if "actions" in can else _with_by_hand(message)))
        body: list[Any] = [
            self._program,
            replaces,
            message.icon,
            bus_text(left_to_right(message.title)),
            html.escape(text, quote=False) if "body-markup" in can else text,
            self._actions(message) if "actions" in can else [],
            {
                "urgency": Variant("y", _URGENCY[message.urgency]),
                "desktop-entry": Variant("s", self._program),
                "category": Variant("s", "network"),
            },
            _NEVER if message.stays else _SERVER_DECIDES,
        ]
        (number,) = await self._call("Notify", "susssasa{sv}i", body, answer="u")
        return int(number)

    def _actions(self, message: Message) -> list[str]:
        """Return the actions in the form of the specification: each id is followed by its text."""
        words = [word for action in message.actions for word in action]
        if message.default is None or self._name in _DRAWS_DEFAULT:
            return words
        return [DEFAULT, words[1], *words]

    async def close(self, number: int) -> None:
        """Remove a message. If the server does not know the number, the message is gone already."""
        try:
            await self._call("CloseNotification", "u", [number])
        except BusCallError as e:
            if not e.name:
                raise

    async def _capabilities(self) -> frozenset[str]:
        if self._can is None:
            (can,) = await self._call("GetCapabilities", "", [], answer="as")
            self._name, *_ = await self._call("GetServerInformation", "", [], answer="ssss")
            self._can = frozenset(can)
        return self._can

    async def _call(self, member: str, signature: str, body: list[Any], *, answer: str = "") -> list[Any]:
        call = Call(SERVER, _PATH, SERVER, member)
        return await self._connection.call(call, signature, body, answer=answer, timeout_s=None)


def _with_by_hand(message: Message) -> str:
    """Return the text for a server without buttons. It ends with what to do by hand."""
    command = message.by_hand.partition(": ")[2]
    if not message.by_hand or (command and command in message.text):
        return message.text
    return f"{message.text}\n{message.by_hand}".strip()
