"""The panels that the agent knows, and what each does differently from others; pure."""

from __future__ import annotations

from msgspec import Struct


class Panel(Struct, frozen=True):
    """The panel that shows the icon. `program` is its process name, "" if unknown.

    `activates`: its users expect that a left click opens a window, and that a right click opens the menu. `recolours`:
    it draws an icon whose name ends in "-symbolic" in its own text colour. `unfolds`: it opens submenus inside the
    menu, and the user cannot reach lines that do not fit the screen. `enlarges_attention`: on a
    screen with a scale of 2, it draws an icon for attention larger than the usual icon, and blurred.
    """

    program: str = ""
    activates: bool = False
    recolours: bool = False
    unfolds: bool = False
    enlarges_attention: bool = False


_KNOWN = {
    panel.program: panel
    for panel in (
        Panel("gnome-shell", recolours=True, unfolds=True),  # with the extension AppIndicator
        Panel("kded5", activates=True, recolours=True, enlarges_attention=True),
        Panel(
            "kded6", activates=True, recolours=True, enlarges_attention=True
        ),  # on Plasma, kded is the watcher
        Panel("plasmashell", activates=True, recolours=True, enlarges_attention=True),
        Panel("cinnamon", recolours=True),
        Panel("xapp-sn-watcher", recolours=True),
    )
}


def panel_of(program: str) -> Panel:
    """Return the panel of this program. The name is from /proc/PID/comm, so it has at most 15 characters."""
    return _KNOWN.get(program, Panel(program))
