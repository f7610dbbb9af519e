"""Builds the look (icon, tooltip, menu) from the agent's view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from trayagent.desktop import icon, menu
from trayagent.desktop.icon.icon_theme import icon_name
from trayagent.desktop.tray.look import Look, Pixmap
from trayagent.presentation import summary

PROGRAM = "trayagent"


def look_and_menu(
    view: Mapping[str, Any],
    now: datetime,
    options: menu.Options,
    *,
    named: bool = False,
    click_opens_menu: bool = True,
    attention_icon: bool = True,
) -> tuple[Look, menu.Menu]:
    """Return the look for the panel, and the menu, which has the command of each key.

    `now` has a time zone. `named`: the panel finds the icon in its theme by name. `click_opens_menu` and
    `attention_icon`: see Look.
    """
    built, overall = menu.build(view, now, options), summary.overall(view)
    tooltip = menu.tooltip(view, now)
    headline = tooltip.splitlines()[0]
    name = icon_name(overall) if named else ""
    title = f"{PROGRAM}: {summary.overall_words(overall)}"
    look = Look(
        _pixmaps(overall),
        title,
        tooltip,
        built.items,
        attention=overall == "needs-you",
        icon_name=name,
        click_opens_menu=click_opens_menu,
        attention_icon=attention_icon,
        description=f"{title}. {headline}",
    )
    return look, built


@cache
def _pixmaps(overall: summary.Overall) -> tuple[Pixmap, ...]:
    return tuple(Pixmap(size, icon.argb(overall, size)) for size in icon.SIZES)
