"""The lines of a menu; pure data.

A line's key identifies what the line is about. The key stays the same while the line's text, position and state change.
So if the menu changes at the moment of a click, the command still goes to the host that the user clicked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from trayagent.desktop.menu.commands import Command

Kind = Literal["action", "submenu", "checkbox", "radio", "separator", "label"]
Key = tuple[str, ...]


class Item(Struct, frozen=True):
    """A line of the menu. `command` is carried out when the user chooses the line; None if it cannot be chosen."""

    key: Key
    kind: Kind
    label: str = ""
    command: Command | None = None
    enabled: bool = True
    checked: bool = False
    children: tuple[Item, ...] = ()


class Menu(Struct, frozen=True):
    """The whole menu."""

    items: tuple[Item, ...]

    def walk(self) -> Iterator[Item]:
        """Yield each line; the lines of a submenu follow the line that opens it."""
        return _walk(self.items)

    def command(self, key: Key) -> Command | None:
        """Return the command of the line with this key; None if the line is gone or cannot be chosen now."""
        found = next((item for item in self.walk() if item.key == key), None)
        return found.command if found is not None and found.enabled else None


def label(key: Key, text: str) -> Item:
    """Return a line that cannot be chosen."""
    return Item(key, "label", text, enabled=False)


def action(key: Key, text: str, command: Command, *, enabled: bool = True) -> Item:
    """Return a line that can be chosen."""
    return Item(key, "action", text, command, enabled)


def submenu(key: Key, text: str, children: Iterable[Item]) -> Item:
    """Return a line that opens a submenu."""
    return Item(key, "submenu", text, children=tuple(children))


def sections(key: Key, parts: Iterable[Sequence[Item]]) -> tuple[Item, ...]:
    """Return the lines of all parts, with a separator between parts that are not empty."""
    lines: list[Item] = []
    for number, part in enumerate(parts):
        if part and lines:
            lines.append(Item((*key, "separator", str(number)), "separator"))
        lines += part
    return tuple(lines)


def _walk(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from _walk(item.children)
