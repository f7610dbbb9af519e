"""Turns a menu into the form of dbusmenu: items with numbers that are never reused. Finds what changed; pure.

Source: com.canonical.dbusmenu, the interface description in libdbusmenu's dbus-menu.xml.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from trayagent.desktop.tray.look import Item, Kind
from trayagent.presentation.text import ISOLATES, clean, left_to_right

Value = str | bool | int

# The kind is part of the name: panels read an item's kind only once, so an item of another kind needs a new number.
_Name = tuple[Hashable, Kind, int]

ROOT = 0
# Panels show about this many characters without scrolling. A longer label would widen the whole menu.
LONGEST_LABEL = 120
_ACCELERATOR = re.compile("_[^_]")


class Node(Struct, frozen=True):
    """An item as the panel gets it. `props` leaves out properties that have their default value."""

    id: int
    props: Mapping[str, Value]
    children: tuple[Node, ...] = ()


class Change(Struct, frozen=True):
    """The difference between two layouts.

    `parents` are the items whose children changed. `updated` has (id, changed properties). `removed` has (id, names of
    properties that have their default value again).
    """

    parents: tuple[int, ...] = ()
    updated: tuple[tuple[int, dict[str, Value]], ...] = ()
    removed: tuple[tuple[int, tuple[str, ...]], ...] = ()


EMPTY = Node(ROOT, {"children-display": "submenu"})


class Layouts(Struct):
    """Makes the layouts of one menu over time, and remembers the key of each number.

    The menu may change at the moment of a click. If a number could later belong to another host, the click would go to
    the wrong host. So a key keeps its number, and the number of a key that is gone is never used again.
    """

    appindicator: bool = False
    """Whether the panel is GNOME's extension AppIndicator.

    It removes only the first underscore, see `escaped`. It never moves a line that it shows, because its handler of a
    move takes the wrong arguments (version 59, dbusMenu.js, _onRootChildMoved). So a line that moves gets a new number.
    """
    root: Node = EMPTY
    keys: dict[int, Hashable] = field(default_factory=dict)
    """The key of each number that can be chosen now."""
    nodes: dict[int, Node] = field(default_factory=lambda: {ROOT: EMPTY})
    _ids: dict[_Name, int] = field(default_factory=dict)
    _fresh: Iterator[int] = field(default_factory=lambda: itertools.count(ROOT + 1))

    def lay_out(self, menu: Sequence[Item]) -> Change:
        """Lay out the current menu, and return what changed since the last call."""
        before = self.nodes
        ids: dict[_Name, int] = {}
        keys: dict[int, Hashable] = {}
        self.root = Node(ROOT, EMPTY.props, self._children(ROOT, menu, ids, keys))
        self.nodes = {node.id: node for node in walk(self.root)}
        self.keys, self._ids = keys, ids
        return difference(before, self.nodes)

    def _children(
        self, parent: int, items: Sequence[Item], ids: dict[_Name, int], keys: dict[int, Hashable]
    ) -> tuple[Node, ...]:
        names = [self._named(item, ids) for item in items]
        numbers = [ids[name] for name in names]
        if self.appindicator and parent in self.nodes:
            for moved in _moved(_ids(self.nodes[parent]), numbers):
                numbers[moved] = ids[names[moved]] = next(self._fresh)
        return tuple(self._node(number, item, ids, keys) for number, item in zip(numbers, items, strict=True))

    def _named(self, item: Item, ids: dict[_Name, int]) -> _Name:
        """Give the item a number, and return its name."""
        name = (item.key, item.kind, 0)
        while name in ids:  # two items may have the same key: number them
            name = (item.key, item.kind, name[2] + 1)
        ids[name] = self._ids[name] if name in self._ids else next(self._fresh)
        return name

    def _node(self, number: int, item: Item, ids: dict[_Name, int], keys: dict[int, Hashable]) -> Node:
        if item.kind in {"action", "checkbox", "radio"} and item.enabled:
            keys[number] = item.key
        children = item.children if item.kind == "submenu" else ()
        props = properties(item, first_only=self.appindicator)
        return Node(number, props, self._children(number, children, ids, keys))


def properties(item: Item, *, first_only: bool = False) -> dict[str, Value]:
    """Return the properties of an item that differ from dbusmenu's defaults. `first_only`: see `escaped`."""
    if item.kind == "separator":
        return {"type": "separator"}
    found: dict[str, Value] = {"label": label(item.label, first_only=first_only)}
    if not item.enabled or item.kind == "label":
        found["enabled"] = False
    if item.kind in {"checkbox", "radio"}:
        found["toggle-type"] = "checkmark" if item.kind == "checkbox" else "radio"
        found["toggle-state"] = int(item.checked)
    if item.kind == "submenu":
        found["children-display"] = "submenu"
    return found


def label(text: str, *, first_only: bool = False) -> str:
    """Return a text as a label: one line of limited length, with escaped underscores.

    `first_only`: see `escaped`.
    """
    flat = " ".join(clean(text, keep=ISOLATES).split())
    if len(flat) > LONGEST_LABEL:
        flat = flat[: LONGEST_LABEL - 1] + "…"
    return escaped(left_to_right(flat), first_only=first_only)


def escaped(text: str, *, first_only: bool) -> str:
    """Return the text with escaped underscores. Otherwise a panel takes "_x" for the accelerator key x.

    Panels show "__" as "_". GNOME's extension AppIndicator is an exception (`first_only`): it removes the first
    underscore before another character, and shows all others as they are.
    """
    if first_only:
        return _ACCELERATOR.sub(r"_\g<0>", text, count=1)
    return text.replace("_", "__")


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and everything below it, parents first."""
    yield node
    for child in node.children:
        yield from walk(child)


def difference(before: Mapping[int, Node], after: Mapping[int, Node]) -> Change:
    """Return what to send to a panel that knows `before`. A panel reads new items together with their parent.

    Each changed submenu is listed, because Plasma reads only the submenu that a signal names.
    """
    parents = tuple(n.id for n in after.values() if n.id in before and _ids(n) != _ids(before[n.id]))
    updated: list[tuple[int, dict[str, Value]]] = []
    removed: list[tuple[int, tuple[str, ...]]] = []
    for node in after.values():
        if node.id not in before or before[node.id].props == node.props:
            continue
        old = before[node.id].props
        if new := {name: value for name, value in node.props.items() if old.get(name) != value}:
            updated.append((node.id, new))
        if gone := tuple(name for name in old if name not in node.props):
            removed.append((node.id, gone))
    return Change(parents, tuple(updated), tuple(removed))


def _moved(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Return the indices in `after` of as few numbers as possible, so that all others keep their order of `before`."""
    place = {number: index for index, number in enumerate(before)}
    known = [index for index, number in enumerate(after) if number in place]
    # For each of them, the longest chain in the old order that ends with it.
    chains: dict[int, list[int]] = {}
    for index in known:
        earlier = [chain for last, chain in chains.items() if place[after[last]] < place[after[index]]]
        chains[index] = [*_longest(earlier), index]
    kept = _longest(list(chains.values()))
    return [index for index in known if index not in kept]


def _longest(chains: Sequence[list[int]]) -> list[int]:
    longest: list[int] = []
    for chain in chains:
        longest = max(longest, chain, key=len)
    return longest


def _ids(node: Node) -> list[int]:
    return [child.id for child in node.children]
