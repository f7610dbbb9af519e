"""What the panel is to show, and what can show it; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from trayagent.desktop.tray.known_panels import Panel

Protocols = Literal["StatusNotifierItem", "XEmbed", "menu bar"]
"""The protocols by which an icon is shown."""
Kind = Literal["action", "submenu", "checkbox", "radio", "separator", "label"]


class Item(Protocol):
    """One line of a menu. `key` names its subject, and stays the same while the label changes."""

    @property
    def key(self) -> Hashable:
        """What identifies this line in the menu."""

    @property
    def kind(self) -> Kind:
        """How the line behaves; a label cannot be chosen."""

    @property
    def label(self) -> str:
        """The text, without any markup of the menu system."""

    @property
    def enabled(self) -> bool:
        """Report whether the line can be chosen."""

    @property
    def checked(self) -> bool:
        """Report whether a checkbox or radio item is on."""

    @property
    def children(self) -> Sequence[Item]:
        """The lines of a submenu."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The simplest Item."""

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
            raise ValueError(f"{self.size} px need {4 * self.size**2} bytes, not {len(self.argb)}")


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that the panel is to show.

    `title` names the program and its state, `tooltip` may have several lines. `description` is the icon in words,
    for screen readers. `attention` requests that the panel shows the icon
    even if it hides inactive ones. `icon_name` is the icon's name in the icon theme, for panels that draw it in
    their own colour; with "" they use the pixmaps. `click_opens_menu`: either click opens the menu, where the panel
    honours this.
    """

    pixmaps: tuple[Pixmap, ...]
    title: str
    tooltip: str
    menu: Sequence[Item]
    attention: bool = False
    icon_name: str = ""
    click_opens_menu: bool = True
    description: str = ""


class TrayBackend(Protocol):
    """Shows a look in the desktop's panel. Does not raise if the desktop lacks something."""

    @property
    def problem(self) -> str | None:
        """Why there is no icon; None if there is one."""

    @property
    def protocol(self) -> Protocols | None:
        """How the icon is shown; None if there is none."""

    @property
    def panel(self) -> Panel:
        """The panel that shows the icon."""

    def show(self, look: Look) -> None:
        """Show this from now on. The same look again costs nothing."""

    def close(self) -> None:
        """Remove the icon."""
