"""The D-Bus interface com.canonical.dbusmenu, by which a panel reads the menu.

If a panel requests an item that is gone, it gets InvalidArgs. dbus-fast reads the annotations when the class is made,
so this module must not use `from __future__ import annotations`. Source: libdbusmenu's dbus-menu.xml.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr, DBusUInt32, DBusVariant
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from trayagent.desktop.tray.dbusmenu_layout import ROOT, Change, Layouts, Node, Value

log = logging.getLogger(__name__)

NAME = "com.canonical.dbusmenu"
PATH = "/MenuBar"
_INVALID = "org.freedesktop.DBus.Error.InvalidArgs"

Ids = Annotated[list[int], DBusSignature("ai")]
Names = Annotated[list[str], DBusSignature("as")]
Layout = Annotated[tuple[int, list[Any]], DBusSignature("u(ia{sv}av)")]
Properties = Annotated[list[list[Any]], DBusSignature("a(ia{sv})")]
Events = Annotated[list[list[Any]], DBusSignature("a(isvu)")]
TwoIdLists = Annotated[tuple[list[int], list[int]], DBusSignature("aiai")]
Updates = Annotated[tuple[list[Any], list[Any]], DBusSignature("a(ia{sv})a(ias)")]
Revision = Annotated[tuple[int, int], DBusSignature("ui")]

_SIGNATURES = {bool: "b", int: "i", str: "s"}


class DBusMenu(ServiceInterface):
    """The menu on one bus connection.

    It calls `chosen` with the number of the item that the user chose, and `opening` when the user opens the menu. The
    menu then shows what `opening` changed.
    """

    def __init__(self, layouts: Layouts, chosen: Callable[[int], None], opening: Callable[[], None]) -> None:
        super().__init__(NAME)
        self._layouts, self._chosen, self._opening = layouts, chosen, opening
        self._revision = 1
        self._read: set[int] = set()
        """The submenus that the panel read, or was told to read."""

    def tell(self, change: Change) -> None:
        """Emit the signals that report this change to the panel."""
        if change.updated or change.removed:
            self.ItemsPropertiesUpdated(change)
        if change.parents:
            self._revision += 1
            self._read &= self._layouts.nodes.keys()
        for parent in change.parents:
            self.LayoutUpdated(parent)

    @dbus_property(access=PropertyAccess.READ)
    def Version(self) -> DBusUInt32:  # noqa: D102, N802  # the specification's name
        return 3

    @dbus_property(access=PropertyAccess.READ)
    def TextDirection(self) -> DBusStr:  # noqa: D102, N802  # the specification's name
        return "ltr"

    @dbus_property(access=PropertyAccess.READ)
    def Status(self) -> DBusStr:  # noqa: D102, N802  # the specification's name
        return "normal"

    @dbus_property(access=PropertyAccess.READ)
    def IconThemePath(self) -> Names:  # noqa: D102, N802  # the specification's name
        return []

    @dbus_method()
    def GetLayout(self, parent: DBusInt32, depth: DBusInt32, names: Names) -> Layout:  # noqa: D102, N802
        node = self._node(parent)
        self._offer(_unread(node, depth))
        if self._layouts.appindicator:
            # The extension requests labels only after it has drawn the lines. Until then, which is a second on a busy
            # machine, new lines are empty and the others show an earlier state. It accepts labels with the layout.
            names = []
        return self._revision, _as_struct(node, depth, names)

    @dbus_method()
    def GetGroupProperties(self, ids: Ids, names: Names) -> Properties:  # noqa: D102, N802
        nodes = self._layouts.nodes
        wanted = [nodes[i] for i in ids if i in nodes] if ids else list(nodes.values())
        return [[node.id, _as_dict(node.props, names)] for node in wanted]

    @dbus_method()
    def GetProperty(self, number: DBusInt32, name: DBusStr) -> DBusVariant:  # noqa: D102, N802
        props = self._node(number).props
        if name not in props:
            raise DBusError(_INVALID, f"item {number} has no property {name}")
        return _variant(props[name])

    @dbus_method()
    def Event(self, number: DBusInt32, kind: DBusStr, data: DBusVariant, at: DBusUInt32) -> None:  # noqa: ARG002, D102, N802
        self._node(number)
        self._event(number, kind)

    @dbus_method()
    def EventGroup(self, events: Events) -> Ids:  # noqa: D102, N802
        unknown = [number for number, *_ in events if number not in self._layouts.nodes]
        if events and len(unknown) == len(events):
            raise DBusError(_INVALID, "none of these items is there")
        for number, kind, *_ in events:
            self._event(number, kind)
        return unknown

    @dbus_method()
    def AboutToShow(self, number: DBusInt32) -> DBusBool:  # noqa: D102, N802
        self._node(number)
        return self._about_to_show([number])

    @dbus_method()
    def AboutToShowGroup(self, ids: Ids) -> TwoIdLists:  # noqa: D102, N802
        unknown = [i for i in ids if i not in self._layouts.nodes]
        known = [i for i in ids if i in self._layouts.nodes]
        return (known if self._about_to_show(known) else []), unknown

    @dbus_signal()
    def ItemsPropertiesUpdated(self, change: Change) -> Updates:  # noqa: D102, N802
        updated = [[number, _as_dict(props, ())] for number, props in change.updated]
        return updated, [[number, list(names)] for number, names in change.removed]

    @dbus_signal()
    def LayoutUpdated(self, parent: int) -> Revision:  # noqa: D102, N802
        return self._revision, parent

    def _offer(self, numbers: Iterator[int]) -> None:
        """Announce submenus that the panel left out, each once, after the answer to the panel.

        Plasma otherwise reads a submenu only after it opened. On X11 it then places the empty submenu, and most of its
        lines are beyond the edge of the screen.
        """
        found = [number for number in numbers if number not in self._read]
        self._read.update(found)
        if found:
            asyncio.get_running_loop().call_soon(self._announce, found)

    def _announce(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self._layouts.nodes:
                self.LayoutUpdated(number)

    def _node(self, number: int) -> Node:
        if number not in self._layouts.nodes:
            raise DBusError(_INVALID, f"there is no item {number}")
        return self._layouts.nodes[number]

    def _event(self, number: int, kind: str) -> None:
        """Handle an item's event. Log an error of the agent, so that it does not reach the panel."""
        try:
            if kind == "clicked":
                self._chosen(number)
            elif kind == "opened" and number == ROOT:
                self._opening()
        except Exception:
            log.exception("the menu's item %d", number)

    def _about_to_show(self, ids: Sequence[int]) -> bool:
        """Update the menu, and report whether its structure changed."""
        before = self._revision
        if ROOT in ids:
            self._event(ROOT, "opened")
        return self._revision != before


def _unread(node: Node, depth: int) -> Iterator[int]:
    """Yield the submenus whose lines are not among `depth` levels below a node (-1: all are)."""
    if depth == 0 and node.children:
        yield node.id
    elif depth != 0:
        for child in node.children:
            yield from _unread(child, depth - 1)


def _as_struct(node: Node, depth: int, names: Sequence[str]) -> list[Any]:
    """Return (ia{sv}av) for a node and `depth` levels below it (-1: all)."""
    children = node.children if depth != 0 else ()
    below = [Variant("(ia{sv}av)", _as_struct(child, depth - 1, names)) for child in children]
    return [node.id, _as_dict(node.props, names), below]


def _as_dict(props: Any, names: Sequence[str]) -> dict[str, Variant]:
    return {name: _variant(value) for name, value in props.items() if not names or name in names}


def _variant(value: Value) -> Variant:
    return Variant(_SIGNATURES[type(value)], value)
