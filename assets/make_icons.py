"""Writes the icon as SVG files (assets/) and a sheet of all states (docs/icons.png).

Usage: python assets/make_icons.py

The design is in trayagent/desktop/icon/design.py, and these files are made from it.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from trayagent.desktop import icon
from trayagent.desktop.icon.design import Stroke, strokes
from trayagent.presentation.summary import OVERALLS, Overall

ROOT = Path(__file__).parents[1]
SHEET = ROOT / "docs" / "icons.png"
SVG_SIDE = 48

LIGHT, DARK = (242, 242, 242), (43, 43, 43)
USUAL = 22
LARGER = 4
CELL, LABEL, ROW = 128, 22, 140


def svg_files() -> dict[Path, str]:
    """Return the text of each SVG file by its path."""
    files = {ROOT / "assets" / "icons" / f"{overall}.svg": _svg(overall) for overall in OVERALLS}
    return files | {ROOT / "assets" / "icon.svg": _svg("all-connected")}


def sheet() -> Image.Image:
    """Return a picture of all states: in the panel's usual size, four times larger, and in other sizes."""
    picture = Image.new("RGB", (CELL * len(OVERALLS), LABEL + 2 * ROW), LIGHT)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, LABEL + ROW, picture.width, picture.height), fill=DARK)
    font = ImageFont.load_default(13)
    for column, overall in enumerate(OVERALLS):
        left = column * CELL + 12
        draw.text((left, 5), overall, fill=DARK, font=font)
        for top in (LABEL, LABEL + ROW):
            _cell(picture, left, top, overall)
    return picture


def _cell(picture: Image.Image, left: int, top: int, overall: Overall) -> None:
    usual = icon.image(overall, USUAL)
    large = usual.resize((USUAL * LARGER, USUAL * LARGER), Image.Resampling.NEAREST)
    picture.paste(usual, (left, top + 12), usual)
    picture.paste(large, (left, top + 44), large)
    at = left + USUAL + 8
    for size in (16, 32):
        other = icon.image(overall, size)
        picture.paste(other, (at, top + 12 + (USUAL - size) // 2), other)
        at += size + 8


def _svg(overall: Overall) -> str:
    paths = "".join(f"  {_path(stroke)}\n" for stroke in strokes(overall, SVG_SIDE))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SVG_SIDE} {SVG_SIDE}" '
        f'stroke-linecap="round" stroke-linejoin="round">\n  <title>{overall}</title>\n{paths}</svg>\n'
    )


def _path(stroke: Stroke) -> str:
    colour = "#{:02x}{:02x}{:02x}".format(*stroke.colour)
    places = [f"{x:.2f} {y:.2f}" for x, y in stroke.points]
    if len(places) == 1:
        places *= 2  # SVG paints a dot only at the end of a line
    line = "M" + " L".join(places) + ("Z" if stroke.closed else "")
    fill = colour if stroke.filled else "none"
    return f'<path d="{line}" fill="{fill}" stroke="{colour}" stroke-width="{stroke.width:.2f}"/>'


def main() -> None:
    """Write all files."""
    for path, text in svg_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    SHEET.parent.mkdir(exist_ok=True)
    sheet().save(SHEET, optimize=True)


if __name__ == "__main__":
    main()
