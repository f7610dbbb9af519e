"""What the panel is to show, and who can show it; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["action", "submenu", "checkbox", "radio", "separator", "label"]


class Item(Protocol):
    """One line of a menu; `key` names what it is about and stays the same while its label changes."""

    @property
    def key(self) -> Hashable:
        """What this line is about, unique in the menu."""

    @property
    def kind(self) -> Kind:
        """How it behaves; a label cannot be chosen."""

    @property
    def label(self) -> str:
        """The words, without any markup of the menu system."""

    @property
    def enabled(self) -> bool:
        """Report whether it can be chosen."""

    @property
    def checked(self) -> bool:
        """Report whether a checkbox or radio item is on."""

    @property
    def children(self) -> Sequence[Item]:
        """The lines of a submenu."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The plainest Item."""

    key: Hashable
    label: str = ""
    kind: Kind = "action"
    enabled: bool = True
    checked: bool = False
    children: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Pixmap:
    """A square picture: `size` pixels a side, ARGB32 in network byte order, row by row."""

    size: int
    argb: bytes

    def __post_init__(self) -> None:
        if len(self.argb) != 4 * self.size * self.size:
            raise ValueError(f"{self.size} px want {4 * self.size**2} bytes, not {len(self.argb)}")


@dataclass(frozen=True, slots=True)
class Look:
    """The whole of what the panel is to show.

    `title` names the program's state in a word or two, `tooltip` may have several lines; `attention`
    asks the panel to show the icon even where it hides quiet ones.
    """

    pixmaps: tuple[Pixmap, ...]
    title: str
    tooltip: str
    menu: Sequence[Item]
    attention: bool = False


class TrayBackend(Protocol):
    """Shows a look in the desktop's panel; never raises for what the desktop lacks."""

    @property
    def problem(self) -> str | None:
        """Why there is no icon, None when there is one."""

    def show(self, look: Look) -> None:
        """Show this from now on; the same look again costs nothing."""

    def close(self) -> None:
        """Take the icon away."""
