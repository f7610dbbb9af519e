"""Which program shows the icon, and what it does differently from others; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """The program whose panel shows the icon; "" if it is unknown.

    `activates`: its users expect that a left click does something, and that a right click opens the menu.
    `recolours`: it draws an icon with a symbolic name in its own text colour. `unfolds`: it opens submenus inside the
    menu, and lines that do not fit the screen cannot be reached.
    """

    program: str = ""
    activates: bool = False
    recolours: bool = False
    unfolds: bool = False


_KNOWN = {
    panel.program: panel
    for panel in (
        Panel("gnome-shell", recolours=True, unfolds=True),  # the extension AppIndicator
        Panel("kded5", activates=True, recolours=True),
        Panel("kded6", activates=True, recolours=True),  # Plasma's watcher lives in kded
        Panel("plasmashell", activates=True, recolours=True),
        Panel("waybar", recolours=True),
        Panel("cinnamon", recolours=True),
        Panel("xapp-sn-watcher", recolours=True),
    )
}


def panel_of(program: str) -> Panel:
    """Return the panel of this program, whose name is as in /proc/PID/comm: at most 15 characters."""
    return _KNOWN.get(program, Panel(program))
