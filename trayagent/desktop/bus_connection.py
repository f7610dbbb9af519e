"""A D-Bus connection for the tray and the notifications: calls with a time limit, signals, and the owner of a name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

# A running service answers in milliseconds. A service that the bus has to start first takes a second or two.
CALL_TIMEOUT_S = 5.0
BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"


class BusCallError(Exception):
    """A call that was refused, was not answered in time, or got an answer of the wrong type."""

    def __init__(self, text: str, *, name: str = "") -> None:
        super().__init__(text)
        self.name = name


def bus_text(text: str) -> str:
    """Return a text that the bus accepts: without NUL and valid in UTF-8; anything else would end the connection."""
    return text.replace("\0", "").encode(errors="replace").decode()


class Call(Struct, frozen=True):
    """A method of a service: its address and its name."""

    destination: str
    path: str
    interface: str
    member: str


class _Listener(Struct, frozen=True):
    name: str
    interface: str
    member: str
    signature: str
    heard: Callable[[list[Any]], None]


class _Watch:
    """Reports each change of a name's owner once, even if several messages report the same owner."""

    def __init__(self, changed: Callable[[str | None], None]) -> None:
        self._changed = changed
        self._told: tuple[str | None] | None = None

    def tell(self, owner: str | None) -> None:
        if self._told != (owner,):
            self._told = (owner,)
            self._changed(owner)


class Connection:
    """A connected bus. Once it dies, calls raise BusCallError and no signals arrive."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self._listeners: list[_Listener] = []
        self._owners: dict[str, str] = {}
        self._watches: dict[str, list[_Watch]] = {}
        bus.add_message_handler(self._message)

    def close(self) -> None:
        """Stop receiving signals."""
        self._listeners.clear()
        self._watches.clear()
        self.bus.remove_message_handler(self._message)

    async def call(
        self,
        call: Call,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        answer: str = "",
        timeout_s: float | None = CALL_TIMEOUT_S,
    ) -> list[Any]:
        """Call a method and return its answer, which must have the D-Bus signature `answer`.

        If `timeout_s` is None, wait for the answer as long as the bus lives. Raises BusCallError.
        """
        from dbus_fast import Message, MessageType

        try:
            message = Message(
                call.destination,
                call.path,
                call.interface,
                call.member,
                signature=signature,
                body=list(body),
            )
            async with asyncio.timeout(timeout_s):
                reply = await self.bus.call(message)
        except TimeoutError as e:
            raise BusCallError(f"{call.member} was not answered in {timeout_s} s") from e
        except (OSError, EOFError, AttributeError) as e:  # dbus-fast: a closed bus has no writer
            raise BusCallError(f"{call.member}: the bus is gone") from e
        if reply is None:
            raise BusCallError(f"{call.member}: the bus is gone")
        if reply.message_type is MessageType.ERROR:
            said = reply.body[0] if reply.signature.startswith("s") else reply.error_name
            raise BusCallError(f"{call.member}: {said}", name=reply.error_name or "")
        if reply.signature != answer:
            raise BusCallError(f"{call.member} answered {reply.signature!r}, not {answer!r}")
        return list(reply.body)

    async def watch_name(self, name: str, changed: Callable[[str | None], None]) -> None:
        """Call `changed` with the owner of a name (None: no owner), now and at each change. Raises BusCallError."""
        watch = _Watch(changed)
        self._watches.setdefault(name, []).append(watch)
        if name not in self._owners:
            await self._match(
                f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'"
            )
            owner = await self._owner(name)
            # A change that arrived meanwhile is newer than the answer.
            self._owners.setdefault(name, owner)
        watch.tell(self._owners[name] or None)

    async def listen(
        self, name: str, interface: str, member: str, signature: str, heard: Callable[[list[Any]], None]
    ) -> None:
        """Call `heard` for each signal of the owner of `name` that has this signature.

        The name must be watched. Raises BusCallError.
        """
        self._listeners.append(_Listener(name, interface, member, signature, heard))
        await self._match(f"type='signal',sender='{name}',interface='{interface}',member='{member}'")

    async def _match(self, rule: str) -> None:
        await self.call(self._ask("AddMatch"), "s", [rule])

    def _ask(self, member: str) -> Call:
        return Call(BUS, BUS_PATH, BUS, member)

    async def _owner(self, name: str) -> str:
        try:
            (owner,) = await self.call(self._ask("GetNameOwner"), "s", [name], answer="s")
        except BusCallError as e:
            if e.name == "org.freedesktop.DBus.Error.NameHasNoOwner":
                return ""
            raise
        return str(owner)

    def _owner_is(self, name: str, owner: str) -> None:
        if name in self._watches:
            self._owners[name] = owner
            for watch in list(self._watches[name]):
                watch.tell(owner or None)

    def _message(self, message: Message) -> None:
        from dbus_fast import MessageType

        if message.message_type is not MessageType.SIGNAL:
            return
        if message.sender == BUS:
            if message.member == "NameOwnerChanged" and message.signature == "sss":
                self._owner_is(message.body[0], message.body[2])
            return
        for listener in list(self._listeners):
            if (listener.interface, listener.member, listener.signature) == (
                message.interface,
                message.member,
                message.signature,
            ) and self._owners.get(listener.name) == message.sender:
                listener.heard(list(message.body))
