"""The look of the icon and its menu, and the interface of a tray that shows it; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from trayagent.desktop.tray.known_panels import Panel

Protocols = Literal["StatusNotifierItem", "XEmbed", "menu bar"]
"""The protocols by which an icon is shown."""
Kind = Literal["action", "submenu", "checkbox", "radio", "separator", "label"]


class Item(Protocol):
    """One line of a menu. `key` identifies the line, and stays the same while the label changes."""

    @property
    def key(self) -> Hashable:
        """A value that identifies this line in the menu."""

    @property
    def kind(self) -> Kind:
        """The kind of line. A label cannot be chosen."""

    @property
    def label(self) -> str:
        """The text, without markup or accelerators."""

    @property
    def enabled(self) -> bool:
        """Report whether the line can be chosen."""

    @property
    def checked(self) -> bool:
        """Report whether a checkbox or radio item is on."""

    @property
    def children(self) -> Sequence[Item]:
        """The lines of a submenu."""


class Entry(Struct, frozen=True):
    """The simplest Item."""

    key: Hashable
    label: str = ""
    kind: Kind = "action"
    enabled: bool = True
    checked: bool = False
    children: tuple[Entry, ...] = ()


class Pixmap(Struct, frozen=True):
    """A square picture: `size` pixels a side, ARGB32 in network byte order, row by row."""

    size: int
    argb: bytes

    def __post_init__(self) -> None:
        if len(self.argb) != 4 * self.size * self.size:
            raise ValueError(f"{self.size} px need {4 * self.size**2} bytes, not {len(self.argb)}")


class Look(Struct, frozen=True):
    """Everything that the panel shows.

    `title` has the name of the program and its state. `tooltip` may have several lines. `description` describes the
    icon in words, for screen readers. `attention`: ask the panel to show the icon even if it hides inactive icons.
    `icon_name` is the icon's name in the icon theme, for panels that draw the icon in their own colour; if it is "",
    panels use `pixmaps`. `click_opens_menu`: ask the panel to open the menu at a left click, too. `attention_icon`:
    send the icon a second time, as the one to show for `attention`.
    """

    pixmaps: tuple[Pixmap, ...]
    title: str
    tooltip: str
    menu: Sequence[Item]
    attention: bool = False
    icon_name: str = ""
    click_opens_menu: bool = True
    attention_icon: bool = True
    description: str = ""


class TrayBackend(Protocol):
    """Shows a look in the desktop's panel. If the desktop cannot show it, no method raises, and `problem` says why."""

    @property
    def problem(self) -> str | None:
        """Why there is no icon; None if there is one."""

    @property
    def protocol(self) -> Protocols | None:
        """The protocol by which the icon is shown; None if there is no icon."""

    @property
    def panel(self) -> Panel:
        """The panel that shows the icon."""

    def show(self, look: Look) -> None:
        """Show this look. The same look again costs nothing."""

    def close(self) -> None:
        """Remove the icon."""
