"""The program's own icon, for launchers and the headers of messages: the link in white on a green tile.

Launchers show it among the icons of other programs. So unlike the tray icon, it has a colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trayagent.desktop.icon import OVERSAMPLED, mask
from trayagent.desktop.icon.design import UNITS

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = (46, 143, 76)
LINK = (255, 255, 255)
RADIUS = 3.0
"""Radius of the tile's corners in units of the design."""
SHARE = 0.75
"""Side of the link as a share of the tile's side."""


def program_icon(size: int) -> Image:
    """Return the program's icon as an RGBA image of `size` by `size` pixels."""
    from PIL import Image, ImageDraw

    fine = size * OVERSAMPLED
    tile = Image.new("L", (fine, fine))
    ImageDraw.Draw(tile).rounded_rectangle((0, 0, fine - 1, fine - 1), RADIUS * fine / UNITS, fill=255)
    picture = Image.new("RGBA", (size, size), (*TILE, 0))
    picture.putalpha(tile.resize((size, size), Image.Resampling.BOX))
    inner = round(SHARE * size / 2) * 2 + size % 2  # both even or both odd, so that the link is in the middle
    link = Image.new("RGBA", (size, size), (*LINK, 0))
    alpha = Image.new("L", (size, size))
    edge = (size - inner) // 2
    alpha.paste(mask("all-connected", inner), (edge, edge))
    link.putalpha(alpha)
    return Image.alpha_composite(picture, link)
