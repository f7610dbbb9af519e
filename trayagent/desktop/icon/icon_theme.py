"""The icon's names in the icon theme, for panels that draw it in their own colour.

The installers put the files of assets/icons into the theme hicolor, which every other theme inherits. Source: Icon
Theme Specification; XDG Base Directory Specification.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from trayagent.presentation.summary import OVERALLS, Overall


def icon_name(overall: Overall) -> str:
    """Return the name of a state's icon. Desktops change the colour of icons whose name ends in "-symbolic"."""
    return f"trayagent-{overall}-symbolic"


def installed(env: Mapping[str, str] = os.environ) -> bool:
    """Report whether the icons of all states are in a directory where panels find them."""
    return any(all((folder / f"{icon_name(o)}.svg").exists() for o in OVERALLS) for folder in _folders(env))


def _folders(env: Mapping[str, str]) -> Iterator[Path]:
    home = env.get("XDG_DATA_HOME") or Path(env.get("HOME") or Path.home()) / ".local" / "share"
    for data in (home, *(env.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")):
        yield Path(data) / "icons" / "hicolor" / "symbolic" / "apps"
