"""Writes the icons as SVG files (assets/) and a sheet of all states (docs/icons.png).

Usage: python assets/make_icons.py

The design is in trayagent/desktop/icon/design.py, and these files are made from it.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from trayagent.desktop import icon
from trayagent.desktop.icon import program_icon
from trayagent.desktop.icon.design import UNITS, Arc, Bar, Disc, Point, Shape, on_circle, shapes
from trayagent.presentation.summary import OVERALLS, Overall

ROOT = Path(__file__).parents[1]
ICONS = ROOT / "assets" / "icons"
SHEET = ROOT / "docs" / "icons.png"

# Plasma replaces these classes with the panel's colours, GTK and GNOME Shell replace every fill and know "warning". A
# program that does neither shows a grey that is visible on light and dark panels.
CLASSES = {"plain": "ColorScheme-Text", "warning": "ColorScheme-NeutralText warning"}
STYLE = ".ColorScheme-Text { color: #808080 } .ColorScheme-NeutralText { color: #e0701a }"

# A panel's background and its text colour. The last two are the defaults of waybar's tray, which shows icons of the
# theme in their own grey, so the agent sends it the pixels.
PANELS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int] | None]] = {
    "light": ((242, 242, 242), (46, 52, 54)),
    "dark": ((43, 43, 43), (238, 238, 238)),
    "waybar": ((41, 128, 185), None),
    "waybar, attention": ((235, 77, 75), None),
}
WARNING_LIGHT, WARNING_DARK = (205, 93, 0), (255, 174, 66)
SIZES = (16, 22, 24, 32)
LARGER = 4
CELL, LABEL, ROW, GAP = 126, 22, 164, 6


def svg_files() -> dict[Path, str]:
    """Return the text of each SVG file by its path."""
    files = {ICONS / f"trayagent-{overall}-symbolic.svg": _symbolic(overall) for overall in OVERALLS}
    return files | {ROOT / "assets" / "icon.svg": _program()}


def sheet() -> Image.Image:
    """Return a picture of all states on each background.

    In each cell the first row has the pixels that the agent sends. The second row has the icon as a panel draws it
    that knows its name. Below it is the icon of 16 pixels, enlarged.
    """
    picture = Image.new("RGB", (CELL * len(OVERALLS), LABEL + ROW * len(PANELS)), PANELS["light"][0])
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    for column, overall in enumerate(OVERALLS):
        draw.text((column * CELL + GAP, 4), overall, fill=(46, 52, 54), font=font)
    for row, (background, text) in enumerate(PANELS.values()):
        top = LABEL + row * ROW
        draw.rectangle((0, top, picture.width, top + ROW), fill=background)
        for column, overall in enumerate(OVERALLS):
            _cell(picture, column * CELL + GAP, top + GAP, overall, text)
    return picture


def _cell(
    picture: Image.Image, left: int, top: int, overall: Overall, text: tuple[int, int, int] | None
) -> None:
    at = left
    for size in SIZES:
        down = top + (max(SIZES) - size) // 2
        for below, drawn in ((0, icon.image(overall, size)), (38, text and _recoloured(overall, size, text))):
            if drawn:
                picture.paste(drawn, (at, down + below), drawn)
        at += size + GAP
    small = _recoloured(overall, SIZES[0], text) if text else icon.image(overall, SIZES[0])
    large = small.resize((SIZES[0] * LARGER,) * 2, Image.Resampling.NEAREST)
    picture.paste(large, (left, top + 82), large)


def _recoloured(overall: Overall, size: int, text: tuple[int, int, int]) -> Image.Image:
    """Return the icon as a panel draws it that knows the icon's name."""
    warning = WARNING_LIGHT if sum(text) < 384 else WARNING_DARK
    done = Image.new("RGBA", (size, size), (*text, 0))
    for tone, colour in (("plain", text), ("warning", warning)):
        layer = Image.new("RGBA", (size, size), (*colour, 0))
        layer.putalpha(icon.mask(overall, size, tone))
        done = Image.alpha_composite(done, layer)
    return done


def _symbolic(overall: Overall) -> str:
    paths = "".join(
        f'  <path class="{CLASSES[shape.tone]}" fill="currentColor" fill-rule="evenodd" d="{_path(shape)}"/>\n'
        for shape in shapes(overall, UNITS)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{UNITS}" height="{UNITS}" viewBox="0 0 {UNITS} {UNITS}">\n'
        f"  <title>trayagent: {overall}</title>\n"
        f'  <style id="current-color-scheme" type="text/css">{STYLE}</style>\n{paths}</svg>\n'
    )


def _program() -> str:
    scale = program_icon.SHARE
    edge = (1 - scale) / 2 * UNITS
    tile, link = ("#{:02x}{:02x}{:02x}".format(*c) for c in (program_icon.TILE, program_icon.LINK))
    paths = "".join(f'    <path d="{_path(shape)}"/>\n' for shape in shapes("all-connected", UNITS))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" viewBox="0 0 {UNITS} {UNITS}">\n'
        f"  <title>trayagent</title>\n"
        f'  <rect width="{UNITS}" height="{UNITS}" rx="{program_icon.RADIUS:g}" fill="{tile}"/>\n'
        f'  <g transform="translate({edge:g} {edge:g}) scale({scale:g})" fill="{link}">\n{paths}  </g>\n</svg>\n'
    )


def _path(shape: Shape) -> str:
    """Return the outline of a shape as SVG path data."""
    match shape:
        case Disc(centre, radius, hole):
            return " ".join(_circle(centre, r) for r in (radius, hole) if r)
        case Bar(start, end, width):
            (x, y), (u, v) = start, end
            length = ((u - x) ** 2 + (v - y) ** 2) ** 0.5 or 1.0
            across, down = (y - v) / length * width / 2, (u - x) / length * width / 2
            near = _cap((u - across, v - down), width)
            return (
                f"M{_at((x + across, y + down))} L{_at((u + across, v + down))} {near} "
                f"L{_at((x - across, y - down))} {_cap((x + across, y + down), width)} Z"
            )
        case Arc(centre, radius, start_angle, end_angle, width):
            outer, inner = radius + width / 2, radius - width / 2
            return (
                f"M{_at(on_circle(centre, outer, start_angle))} "
                f"A{outer:g} {outer:g} 0 0 1 {_at(on_circle(centre, outer, end_angle))} "
                f"{_cap(on_circle(centre, inner, end_angle), width, sweep=1)} "
                f"A{inner:g} {inner:g} 0 0 0 {_at(on_circle(centre, inner, start_angle))} "
                f"{_cap(on_circle(centre, outer, start_angle), width, sweep=1)} Z"
            )


def _circle(centre: Point, radius: float) -> str:
    x, y = centre
    left, right = _at((x - radius, y)), _at((x + radius, y))
    return f"M{left} A{radius:g} {radius:g} 0 0 1 {right} A{radius:g} {radius:g} 0 0 1 {left} Z"


def _cap(end: Point, width: float, sweep: int = 0) -> str:
    """Return the half circle that leads to a corner of a round end."""
    return f"A{width / 2:g} {width / 2:g} 0 0 {sweep} {_at(end)}"


def _at(point: Point) -> str:
    return f"{point[0]:.2f} {point[1]:.2f}"


def main() -> None:
    """Write all files."""
    for path, text in svg_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    SHEET.parent.mkdir(exist_ok=True)
    sheet().save(SHEET, optimize=True)


if __name__ == "__main__":
    main()
