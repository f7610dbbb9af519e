"""The tray icon as pixels: one image for each state and size. Pillow is imported only when it must paint.

A panel can have any background colour, and the agent cannot read it. So the pixels are white inside a dark outline.
Panels that know the icon by its name (icon_theme.py) draw it in their own colour instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from trayagent.desktop.icon.design import Arc, Bar, Disc, Point, Shape, Tone, arc_points, shapes
from trayagent.desktop.icon.painted_icons import painted
from trayagent.presentation.summary import Overall

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]

SIZES = (16, 22, 24, 32, 48)
"""Width and height in pixels. Panels choose one: 22 is the usual size, 44 to 48 are for high-density screens."""

COLOURS: dict[Tone, Colour] = {"plain": (255, 255, 255), "warning": (255, 174, 66)}
OUTLINE: Colour = (32, 32, 32)
OUTLINE_ALPHA = 215

OVERSAMPLED = 8
"""Each pixel is the average of 8 by 8 painted pixels, because Pillow draws no smooth edges."""


@cache
def image(overall: Overall, size: int) -> Image:
    """Return the icon as an RGBA image of `size` by `size` pixels. It is shared: copy it before you change it."""
    from PIL import Image

    drawn = shapes(overall, size)
    around = max(1.0, size / 20)
    outline = _mask([shape.grown(around) for shape in drawn], size)
    done = _layer(OUTLINE, outline.point(lambda value: value * OUTLINE_ALPHA // 255))
    for tone, colour in COLOURS.items():
        # Paint each tone as a separate layer. Otherwise the averaging would mix in the transparent background's colour.
        done = Image.alpha_composite(done, _layer(colour, mask(overall, size, tone)))
    return done


@cache
def argb(overall: Overall, size: int) -> bytes:
    """Return the pixels in the format of StatusNotifierItem's IconPixmap: rows of ARGB32, big-endian."""
    return painted(overall, size, SIZES) or paint(overall, size)


def paint(overall: Overall, size: int) -> bytes:
    """Paint the icon now, and return its pixels in the format of `argb`."""
    red, green, blue, alpha = image(overall, size).split()
    from PIL import Image

    return Image.merge("RGBA", (alpha, red, green, blue)).tobytes()


def mask(overall: Overall, size: int, tone: Tone | None = None) -> Image:
    """Return the shapes of a tone (None: of all tones) as an alpha channel, without the outline."""
    return _mask([shape for shape in shapes(overall, size) if tone in {None, shape.tone}], size)


def _layer(colour: Colour, alpha: Image) -> Image:
    from PIL import Image

    layer = Image.new("RGBA", alpha.size, (*colour, 0))
    layer.putalpha(alpha)
    return layer


def _mask(drawn: Iterable[Shape], size: int) -> Image:
    from PIL import Image, ImageChops, ImageDraw

    side = size * OVERSAMPLED
    whole = Image.new("L", (side, side))
    for shape in drawn:
        one = Image.new("L", (side, side))
        _paint(ImageDraw.Draw(one), shape)
        whole = ImageChops.lighter(whole, one)
    return whole.resize((size, size), Image.Resampling.BOX)


def _paint(draw: ImageDraw, shape: Shape) -> None:
    match shape:
        case Disc(centre, radius, hole):
            _circle(draw, centre, radius)
            if hole:
                _circle(draw, centre, hole, fill=0)
        case Bar(start, end, width):
            _line(draw, [start, end], width)
        case Arc(width=width):
            _line(draw, list(arc_points(shape)), width)


def _line(draw: ImageDraw, points: list[Point], width: float) -> None:
    for start, end in pairwise(points):
        draw.polygon([_fine(point) for point in _band(start, end, width / 2)], fill=255)
    for point in points:  # round joins and ends
        _circle(draw, point, width / 2)


def _circle(draw: ImageDraw, centre: Point, radius: float, fill: int = 255) -> None:
    (x, y), reach = _fine(centre), radius * OVERSAMPLED - 0.5
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _fine(point: Point) -> Point:
    """Return a point in the coordinates of the oversampled picture.

    A coordinate of the design lies on the edge between two pixels, as in SVG. A coordinate of Pillow is the centre of a
    pixel, and Pillow paints both ends of a range. So the point moves by half an oversampled pixel; otherwise a faint
    seam shows at the right and the bottom.
    """
    return (point[0] * OVERSAMPLED - 0.5, point[1] * OVERSAMPLED - 0.5)


def _band(start: Point, end: Point, reach: float) -> list[Point]:
    """Return the corners of a line whose width is twice `reach`."""
    along, up = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along, up) or 1.0
    x, y = -up / length * reach, along / length * reach
    return [
        (start[0] + x, start[1] + y),
        (end[0] + x, end[1] + y),
        (end[0] - x, end[1] - y),
        (start[0] - x, start[1] - y),
    ]


__all__ = ["COLOURS", "OUTLINE", "SIZES", "argb", "image", "mask", "paint"]
