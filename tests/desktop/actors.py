"""Test data for tray tests (looks), and minimal fakes of a panel, of its watcher and of a notification server."""

# dbus-fast reads the annotations of a service when the class is created.

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from dbus_fast import Message, NameFlag, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from trayagent.desktop.tray.look import Entry, Look, Pixmap

RED, GREEN, BLUE = (220, 20, 20), (20, 160, 20), (20, 60, 220)

Words = Annotated[list[str], DBusSignature("as")]
Hints = Annotated[dict[str, Variant], DBusSignature("a{sv}")]
Information = Annotated[tuple[str, str, str, str], DBusSignature("ssss")]
Closing = Annotated[tuple[int, int], DBusSignature("uu")]
Acting = Annotated[tuple[int, str], DBusSignature("us")]


def pixmaps(colour: tuple[int, int, int], sizes: Sequence[int] = (16, 22, 24, 32, 48)) -> tuple[Pixmap, ...]:
    """Return squares of one colour, one of each size."""
    return tuple(Pixmap(size, bytes([255, *colour]) * size * size) for size in sizes)


def pause(chosen: str = "") -> Entry:
    """Return a submenu with radio items."""
    names = ("30 minutes", "1 hour", "Until I resume")
    items = tuple(Entry(("pause", n), n, kind="radio", checked=n == chosen) for n in names)
    return Entry("pause", "Pause", kind="submenu", children=items)


def host(name: str, state: str) -> Entry:
    """Return a host's line."""
    actions = tuple(Entry((name, what), what) for what in ("Reconnect", "Disconnect"))
    return Entry(("host", name), f"{name}: {state}", kind="submenu", children=actions)


def menu(
    state: str = "connected", chosen: str = "", hosts: Sequence[str] = ("web_01", "db")
) -> tuple[Entry, ...]:
    """Return a small menu of every kind of item."""
    return (
        Entry("head", f"2 hosts {state}", kind="label"),
        Entry("line 1", kind="separator"),
        *(host(name, state) for name in hosts),
        Entry("line 2", kind="separator"),
        Entry("reconnect", "Reconnect all"),
        pause(chosen),
        Entry("login", "Start at login", kind="checkbox", checked=True),
        Entry("quit", "Quit (masters stay)"),
    )


def look(colour: tuple[int, int, int] = RED, tooltip: str = "2 of 2", **of_menu: Any) -> Look:
    """Return a look of one colour."""
    return Look(pixmaps(colour), "trayagent", tooltip, menu(**of_menu))


class FakeWatcher(ServiceInterface):
    """A watcher that refuses the first `refuses` registrations, and accepts later ones."""

    NAME = "org.kde.StatusNotifierWatcher"

    def __init__(self, *, refuses: int = 0, host: Any = True) -> None:
        super().__init__(self.NAME)
        self.refuses, self.host, self.registered = refuses, host, list[str]()
        self.asked = self.looked = 0

    async def take(self, address: str) -> "FakeWatcher":
        """Connect and own the watcher's name."""
        self.bus = await MessageBus(address).connect()
        self.bus.export("/StatusNotifierWatcher", self)
        await self.bus.request_name(self.NAME)
        return self

    def leave(self) -> None:
        """Disconnect without a notice, like a panel that crashed."""
        self.bus.disconnect()

    @dbus_property(access=PropertyAccess.READ)
    def IsStatusNotifierHostRegistered(self) -> DBusBool:  # noqa: D102, N802  # the name is in the specification
        self.looked += 1
        return self.host  # type: ignore[no-any-return]  # malformed on purpose

    @dbus_method()
    def RegisterStatusNotifierItem(self, service: DBusStr) -> None:  # noqa: D102, N802
        self.asked += 1
        if self.asked <= self.refuses:
            raise DBusError("org.example.Busy", "not now")
        self.registered.append(service)

    @dbus_signal()
    def StatusNotifierHostRegistered(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def StatusNotifierHostUnregistered(self) -> None:  # noqa: D102, N802
        pass

    @dbus_signal()
    def StatusNotifierItemUnregistered(self, item: str) -> DBusStr:  # noqa: D102, N802
        return item


@contextmanager
def called(program: str) -> Iterator[None]:
    """Give this process another name in /proc, by which the tray identifies the owner of a D-Bus service."""
    comm = Path("/proc/self/comm")
    before = comm.read_text()
    comm.write_text(program)
    try:
        yield
    finally:
        comm.write_text(before)


class FakeServer(ServiceInterface):
    """A notification server that records its calls.

    While `answers` is unset, it accepts calls and does not answer them.
    """

    NAME = "org.freedesktop.Notifications"

    def __init__(
        self,
        *,
        can: Sequence[str] = ("actions", "body"),
        answers: bool = True,
        name: str = "Xfce Notify Daemon",
    ) -> None:
        super().__init__(self.NAME)
        self.program = name
        self.can, self.shown, self.closed = list(can), list[tuple[int, list[Any]]](), list[int]()
        self.answers = asyncio.Event()
        if answers:
            self.answers.set()
        self.last, self.hasty = 0, ""
        """A button that is pressed before the answer to Notify is sent."""

    async def take(self, address: str) -> "FakeServer":
        """Connect and own the server's name, even if another server owns it."""
        self.bus = await MessageBus(address).connect()
        self.bus.export("/org/freedesktop/Notifications", self)
        await self.bus.request_name(self.NAME, NameFlag.ALLOW_REPLACEMENT | NameFlag.REPLACE_EXISTING)
        return self

    def leave(self) -> None:
        """Disconnect without a notice, like a server that crashed."""
        self.bus.disconnect()

    @dbus_method()
    def GetCapabilities(self) -> Words:  # noqa: D102, N802
        return self.can

    @dbus_method()
    def GetServerInformation(self) -> Information:  # noqa: D102, N802
        return self.program, "tests", "1", "1.2"

    @dbus_method()
    async def Notify(  # noqa: D102, N802
        self,
        app: DBusStr,
        replaces: DBusUInt32,
        icon: DBusStr,  # noqa: ARG002
        summary: DBusStr,
        body: DBusStr,
        actions: Words,
        hints: Hints,
        expire: DBusInt32,
    ) -> DBusUInt32:
        await self.answers.wait()
        self.last = replaces or self.last + 1
        self.shown.append((self.last, [app, summary, body, actions, hints["urgency"].value, expire]))
        if self.hasty:
            self.ActionInvoked(self.last, self.hasty)
        return self.last

    @dbus_method()
    def CloseNotification(self, number: DBusUInt32) -> None:  # noqa: D102, N802
        if number not in {n for n, _ in self.shown}:
            raise DBusError("org.example.Unknown", "no such message")
        self.closed.append(number)
        self.NotificationClosed(number, 3)

    @dbus_signal()
    def NotificationClosed(self, number: int, reason: int) -> Closing:  # noqa: D102, N802
        return number, reason

    @dbus_signal()
    def ActivationToken(self, number: int, token: str) -> Acting:  # noqa: D102, N802
        return number, token

    @dbus_signal()
    def ActionInvoked(self, number: int, action: str) -> Acting:  # noqa: D102, N802
        return number, action


class Panel:
    """A panel's side of an icon: makes the calls of a panel, and records the signals."""

    def __init__(self, bus: MessageBus, service: str) -> None:
        self.bus, self.service, self.signals = bus, service, list[tuple[str, list[Any]]]()

    @classmethod
    async def on(cls, address: str, service: str) -> "Panel":
        """Connect, and receive the icon's signals."""
        panel = cls(await MessageBus(address).connect(), service)
        await panel.ask("AddMatch", "s", f"type='signal',sender='{service}'", on="org.freedesktop.DBus")
        panel.bus.add_message_handler(panel._signal)
        return panel

    def _signal(self, message: Message) -> None:
        if message.interface in {"org.kde.StatusNotifierItem", "com.canonical.dbusmenu"} and message.member:
            self.signals.append((message.member, message.body))

    async def ask(
        self, member: str, signature: str = "", *body: Any, on: str = "com.canonical.dbusmenu"
    ) -> Any:
        """Call a method. Return its answer (a single value without a list) or the name of the error."""
        paths = {"org.freedesktop.DBus": "/org/freedesktop/DBus", "com.canonical.dbusmenu": "/MenuBar"}
        reply = await self.bus.call(
            Message(
                self.service if on != "org.freedesktop.DBus" else on,
                paths.get(on, "/StatusNotifierItem"),
                on,
                member,
                signature=signature,
                body=list(body),
            )
        )
        assert reply is not None
        if reply.error_name:
            return reply.error_name
        return reply.body[0] if len(reply.body) == 1 else reply.body

    async def properties(self, interface: str) -> dict[str, Any]:
        """Return all properties of the icon or of the menu."""
        path = "/MenuBar" if interface.endswith("dbusmenu") else "/StatusNotifierItem"
        reply = await self.bus.call(
            Message(
                self.service,
                path,
                "org.freedesktop.DBus.Properties",
                "GetAll",
                signature="s",
                body=[interface],
            )
        )
        assert reply is not None
        return {name: value.value for name, value in reply.body[0].items()}

    async def items(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """Return the whole menu as a dictionary from label to (number, properties)."""
        _, root = await self.ask("GetLayout", "iias", 0, -1, [])
        found: dict[str, tuple[int, dict[str, Any]]] = {}

        def walk(node: Any) -> None:
            number, props, children = node
            plain = {name: value.value for name, value in props.items()}
            found[plain.get("label", f"#{number}")] = number, plain
            for child in children:
                walk(child.value)

        walk(root)
        return found

    def close(self) -> None:
        """Disconnect from the bus."""
        self.bus.disconnect()


Chosen = Callable[[Any], None]
