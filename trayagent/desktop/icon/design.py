"""The design of the icon: two dots and the link between them, on a tile; pure.

Theory of operation. A picture is a list of strokes, painted one over the other. Each is a line through points with
round ends and joins, filled inside or not. Both Pillow and SVG can draw exactly this, so `assets/icons` and the tray
show the same.

A panel can be light or dark, and does not say which. So the colours have a medium lightness, with a contrast of at
least 3 to both (WCAG 1.4.11), and the signs on them are white. The states differ first in their outline (tile, half
tile, empty tile, triangle), then in the sign, and only then in colour.

All edges are on whole pixels at each size; otherwise a 16-pixel icon is blurred.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trayagent.presentation.summary import Overall

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
COLOURS: dict[Overall, Colour] = {
    "all-connected": (46, 143, 76),
    "some-connected": (46, 143, 76),
    "working": (40, 128, 203),
    "offline": (130, 130, 130),
    "needs-you": (224, 90, 36),
    "paused": (140, 118, 178),
    "nothing-to-do": (130, 130, 130),
}


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line of `width` through `points`, in pixels from the top left corner."""

    points: tuple[Point, ...]
    width: float
    colour: Colour
    closed: bool = False
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """The measures of one size, in whole pixels: `edge` stays free, `pen` is the width of a line."""

    size: int

    @property
    def edge(self) -> int:
        """Return the width of the free border around the tile, in pixels."""
        return max(1, round(self.size / 22))

    @property
    def pen(self) -> int:
        """Return the width of a line; below two pixels a line is easily overlooked."""
        return max(2, round(self.size / 11))

    @property
    def side(self) -> int:
        """Return the side of the tile in pixels."""
        return self.size - 2 * self.edge

    def at(self, share: float) -> float:
        """Return the distance from the picture's corner, in pixels, to this share of the tile's side."""
        return self.edge + share * self.side


def strokes(overall: Overall, size: int) -> tuple[Stroke, ...]:
    """Return the picture of a state in a square of `size` pixels; paint the strokes in this order."""
    grid, colour = Grid(size), COLOURS[overall]
    match overall:
        case "all-connected":
            return (_tile(grid, colour), *_link(grid, WHITE))
        case "some-connected":
            return (_frame(grid, colour), _half(grid, colour), _here(grid, WHITE))
        case "working":
            return (_tile(grid, colour), *_arrow(grid, WHITE))
        case "offline":
            return tuple(_barred_ring(grid, colour))
        case "needs-you":
            return (_triangle(grid, colour), *_exclamation(grid, WHITE))
        case "paused":
            return (_tile(grid, colour), *_bars(grid, WHITE))
        case "nothing-to-do":
            return (_frame(grid, colour), *_apart(grid, colour))


def _tile(grid: Grid, colour: Colour) -> Stroke:
    """Return a full tile with round corners."""
    radius = grid.pen
    near, far = grid.edge + radius, grid.size - grid.edge - radius
    return Stroke(((near, near), (far, near), (far, far), (near, far)), 2 * radius, colour, True, True)


def _frame(grid: Grid, colour: Colour) -> Stroke:
    """Return an empty tile."""
    bend, half = grid.pen, grid.pen / 2
    near, far = grid.edge + half, grid.size - grid.edge - half
    inner, outer = near + bend / 2, far - bend / 2
    corners = (
        *_arc((inner, inner), bend / 2, 180, 270),
        *_arc((outer, inner), bend / 2, 270, 360),
        *_arc((outer, outer), bend / 2, 0, 90),
        *_arc((inner, outer), bend / 2, 90, 180),
    )
    return Stroke(corners, grid.pen, colour, closed=True)


def _link(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield the two dots and the link between them."""
    here, there = (grid.at(0.29), grid.at(0.71)), (grid.at(0.71), grid.at(0.29))
    yield Stroke((here, there), 1.2 * grid.pen, colour)
    yield Stroke((here,), 0.3 * grid.side, colour)
    yield Stroke((there,), 0.3 * grid.side, colour)


def _half(grid: Grid, colour: Colour) -> Stroke:
    """Return the filled half of a tile."""
    near, far = grid.edge + grid.pen / 2, grid.size - grid.edge - grid.pen / 2
    return Stroke(((near, near), (far, far), (near, far)), grid.pen, colour, True, True)


def _here(grid: Grid, colour: Colour) -> Stroke:
    return Stroke(((grid.at(0.29), grid.at(0.71)),), 0.3 * grid.side, colour)


def _apart(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield the two dots without a link."""
    for share in (0.33, 0.67):
        yield Stroke(((grid.at(share), grid.at(1 - share)),), 0.2 * grid.side, colour)


def _arrow(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield a circular arrow."""
    middle, radius, head = grid.size / 2, 0.27 * grid.side, 0.17 * grid.side
    yield Stroke(tuple(_arc((middle, middle), radius, 20, 280)), grid.pen, colour)
    top = middle - radius
    tip = ((middle, top - head), (middle + 1.2 * head, top), (middle, top + head))
    yield Stroke(tip, 0.3 * grid.pen, colour, closed=True, filled=True)


def _barred_ring(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield a ring with a bar across: no network."""
    middle, radius = grid.size / 2, (grid.side - grid.pen) / 2
    yield Stroke(tuple(_arc((middle, middle), radius, 0, 360)), grid.pen, colour)
    reach = radius * math.sqrt(0.5)
    yield Stroke(((middle - reach, middle - reach), (middle + reach, middle + reach)), grid.pen, colour)


def _triangle(grid: Grid, colour: Colour) -> Stroke:
    """Return a warning triangle, as wide as the whole picture."""
    radius = 0.8 * grid.pen
    low = grid.size - grid.edge - radius
    corners = ((grid.size / 2, grid.edge + radius), (grid.size - radius, low), (radius, low))
    return Stroke(corners, 2 * radius, colour, closed=True, filled=True)


def _exclamation(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield an exclamation mark of even width, so that both its edges are on whole pixels."""
    middle, width = grid.size / 2, grid.pen + grid.pen % 2
    top, low, dot = (round(grid.at(share)) for share in (0.33, 0.66, 0.84))
    yield Stroke(((middle, top + width / 2), (middle, low - width / 2)), width, colour)
    yield Stroke(((middle, dot),), width, colour)


def _bars(grid: Grid, colour: Colour) -> Iterator[Stroke]:
    """Yield two bars with an even gap, so that all edges are on whole pixels."""
    width, gap = round(1.4 * grid.pen), 2 * round(grid.size / 11)
    top, low = round(grid.at(0.25)) + width / 2, round(grid.at(0.75)) - width / 2
    for side in (-1, 1):
        x = (grid.size + side * (gap + width)) / 2
        yield Stroke(((x, top), (x, low)), width, colour)


def _arc(centre: Point, radius: float, start: float, end: float) -> Iterator[Point]:
    """Yield points on a circle. The angles are in degrees, clockwise from the right, as the y axis points down."""
    steps = math.ceil((end - start) / 10)
    for step in range(steps + 1):
        angle = math.radians(start + (end - start) * step / steps)
        yield (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
