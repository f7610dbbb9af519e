"""The lines of a menu; pure data.

A key says what a line is about, and stays the same while its words, its place and its state
change: a click that races a new view still means the host that was clicked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trayagent.desktop.menu.commands import Command

Kind = Literal["action", "submenu", "checkbox", "radio", "separator", "label"]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One line: `command` is what choosing it does, None where it cannot be chosen."""

    key: Key
    kind: Kind
    label: str = ""
    command: Command | None = None
    enabled: bool = True
    checked: bool = False
    children: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """The whole menu, from the top."""

    items: tuple[Item, ...]

    def walk(self) -> Iterator[Item]:
        """Yield each line, those of submenus after the line that opens them."""
        return _walk(self.items)

    def command(self, key: Key) -> Command | None:
        """Return what choosing this line does; None for one that is gone or cannot be chosen now."""
        found = next((item for item in self.walk() if item.key == key), None)
        return found.command if found is not None and found.enabled else None


def label(key: Key, text: str) -> Item:
    """Return a line to read."""
    return Item(key, "label", text, enabled=False)


def action(key: Key, text: str, command: Command, *, enabled: bool = True) -> Item:
    """Return a line to choose."""
    return Item(key, "action", text, command, enabled)


def submenu(key: Key, text: str, children: Iterable[Item]) -> Item:
    """Return a line that opens others."""
    return Item(key, "submenu", text, children=tuple(children))


def sections(key: Key, parts: Iterable[Sequence[Item]]) -> tuple[Item, ...]:
    """Return the lines of all parts, with a separator between two that are not empty."""
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
