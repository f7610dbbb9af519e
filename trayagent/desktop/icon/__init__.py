"""The tray icon as pixels: one image for each state and size. Pillow is imported only when it must paint."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from trayagent.desktop.icon.design import Point, Stroke, strokes
from trayagent.desktop.icon.painted import painted
from trayagent.presentation.summary import Overall

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZES = (16, 22, 24, 32, 48)
"""Side in pixels. Panels choose among these: 22 is the usual one, 44 to 48 are for high-density screens."""

OVERSAMPLED = 8
"""Each pixel is painted as 8 by 8 pixels and averaged, because Pillow draws no smooth edges."""


@cache
def image(overall: Overall, size: int) -> Image:
    """Return the icon as RGBA of `size` pixels a side. The image is shared: copy it before you change it."""
    from PIL import Image

    painted = Image.new("RGBA", (size, size))
    for stroke in strokes(overall, size):
        # Each stroke is a mask of its own; otherwise the averaging would mix in the colour of the transparent
        # background.
        layer = Image.new("RGBA", (size, size), (*stroke.colour, 0))
        layer.putalpha(_mask(stroke, size))
        painted = Image.alpha_composite(painted, layer)
    return painted


@cache
def argb(overall: Overall, size: int) -> bytes:
    """Return the pixels in the format of StatusNotifierItem's IconPixmap: rows of ARGB32, big-endian."""
    return painted(overall, size, SIZES) or paint(overall, size)


def paint(overall: Overall, size: int) -> bytes:
    """Paint the icon now, and return its pixels in the same format."""
    red, green, blue, alpha = image(overall, size).split()
    from PIL import Image

    return Image.merge("RGBA", (alpha, red, green, blue)).tobytes()


def _mask(stroke: Stroke, size: int) -> Image:
    from PIL import Image, ImageDraw

    mask = Image.new("L", (size * OVERSAMPLED, size * OVERSAMPLED))
    _paint(ImageDraw.Draw(mask), stroke)
    return mask.resize((size, size), Image.Resampling.BOX)


def _paint(draw: ImageDraw, stroke: Stroke) -> None:
    # Pillow counts pixels and paints both ends of a range; SVG measures between pixels. Without half a (small) pixel
    # less on each side, a faint seam shows at the right and the bottom.
    points = [(x * OVERSAMPLED - 0.5, y * OVERSAMPLED - 0.5) for x, y in stroke.points]
    reach = stroke.width * OVERSAMPLED / 2 - 0.5
    line = [*points, points[0]] if stroke.closed else points
    if stroke.filled:
        draw.polygon(points, fill=255)
    for start, end in pairwise(line):
        draw.polygon(_band(start, end, reach), fill=255)
    for x, y in points:  # round joins and ends, like SVG's stroke-linejoin and -linecap
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)


def _band(start: Point, end: Point, reach: float) -> list[Point]:
    """Return the corners of a line that extends `reach` to both sides."""
    along, up = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along, up) or 1.0
    x, y = -up / length * reach, along / length * reach
    return [
        (start[0] + x, start[1] + y),
        (end[0] + x, end[1] + y),
        (end[0] - x, end[1] - y),
        (start[0] - x, start[1] - y),
    ]


__all__ = ["SIZES", "argb", "image", "paint"]
